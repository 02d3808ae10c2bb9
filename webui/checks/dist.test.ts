// What the first visit loads stays small, and nothing in what was built breaks the policy.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect, it } from 'vitest';

const FIRST_LOAD_BYTES_MAX = 250_000;
const dist = `${process.cwd()}/dist`;

interface Chunk {
  file: string;
  imports?: string[];
  src?: string;
}

const manifest = () => JSON.parse(readFileSync(`${dist}/.vite/manifest.json`, 'utf8')) as Record<string, Chunk>;

/** A chunk, and all that it cannot do without. */
function withImports(all: Record<string, Chunk>, name: string, seen = new Set<string>()): Set<string> {
  const chunk = all[name];
  if (!chunk || seen.has(name)) return seen;
  seen.add(name);
  for (const imported of chunk.imports ?? []) withImports(all, imported, seen);
  return seen;
}

it('was built', () => {
  expect(existsSync(`${dist}/index.html`), 'run: make webui').toBe(true);
});

it.each(['index.html', 'pages/overview/index.tsx'])(
  'loads less than 250 KB of compressed JavaScript for %s',
  (entry) => {
    const all = manifest();
    const needed = withImports(all, 'index.html');
    for (const entry of entries) withImports(all, entry, needed);
    withImports(all, 'languages/de.json', needed);
    const sizes = [...needed].map((name) => gzipSync(readFileSync(`${dist}/${all[name]?.file}`)).length);
    const whole = sizes.reduce((sum, size) => sum + size, 0);
    console.info(`${what}: ${(whole / 1000).toFixed(1)} KB in ${needed.size} files`);
    expect(needed.size).toBeGreaterThan(2);
    expect(whole).toBeLessThan(FIRST_LOAD_BYTES_MAX);
  },
);

it('has no script or style in the page itself, and all under its own roof', () => {
  const page = readFileSync(`${dist}/index.html`, 'utf8');
  expect(page).not.toMatch(/<script(?![^>]*src=)/);
  expect(page).not.toMatch(/<style|style=|onload=|https?:\/\//);
  expect(page).toContain('POSTERN_NONCE');
});

it('has smaller copies beside what is text', () => {
  const names = readdirSync(`${dist}/assets`);
  const script = names.find((name) => name.startsWith('index-') && name.endsWith('.js')) ?? '';
  expect(names).toContain(`${script}.br`);
  expect(names).toContain(`${script}.gz`);
});
