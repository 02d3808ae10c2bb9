// What neither the compiler nor Biome sees: short files, and no unfinished work.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const LINES_MAX = 500;
const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '.'], {
  encoding: 'utf8',
});
const bad = [];
for (const path of listed.split('\n').filter((name) => /\.(ts|tsx|mjs|css|html)$/.test(name))) {
  const text = readFileSync(path, 'utf8');
  const lines = text.split('\n').length - 1;
  if (lines > LINES_MAX) bad.push(`${path} has ${lines} lines: two things in one file?`);
  if (path !== 'checks/tidy.mjs' && /\b(TODO|FIXME|XXX)\b/.test(text)) bad.push(`${path}: unfinished work`);
}
if (bad.length > 0) {
  console.error(bad.join('\n'));
  process.exit(1);
}
