// Every package has a permissive licence; what only tests use may also be under the MPL (axe-core).
import { readFileSync } from 'node:fs';

const PERMISSIVE = new Set([
  'MIT',
  'MIT-0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'Apache-2.0',
  'Python-2.0',
  'CC0-1.0',
  'BlueOak-1.0.0',
  'Unlicense',
  'OFL-1.1',
  'CC-BY-4.0',
]);
/** Never in what is shipped. */
const FOR_BUILDING = new Set(['MPL-2.0']);

const lock = JSON.parse(readFileSync(new URL('../package-lock.json', import.meta.url), 'utf8'));
const bad = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue;
  const choices = String(entry.license ?? 'none')
    .replaceAll(/[()]/g, '')
    .split(' OR ');
  const allowed = choices.some((licence) => PERMISSIVE.has(licence) || (entry.dev && FOR_BUILDING.has(licence)));
  if (!allowed) bad.push(`${path.replace('node_modules/', '')}: ${entry.license}`);
}
if (bad.length > 0) {
  console.error(`licences that are not on the list in webui/checks/licences.mjs:\n${bad.join('\n')}`);
  process.exit(1);
}
