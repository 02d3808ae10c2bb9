// Every language says everything, with the same values in it; nothing is said that no page asks for.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const here = `${process.cwd()}/console/languages/`;
const names = readdirSync(here).filter((name) => name.endsWith('.json'));

function flat(texts: object, before = ''): Map<string, string> {
  const entries = Object.entries(texts).flatMap(([key, value]): [string, string][] =>
    typeof value === 'string' ? [[before + key, value]] : [...flat(value, `${before}${key}.`)],
  );
  return new Map(entries);
}

const texts = (name: string) => flat(JSON.parse(readFileSync(here + name, 'utf8')));
const english = texts('en.json');
const values = (text: string | undefined) => (text?.match(/\{\{\w+\}\}/g) ?? []).sort();
/** Languages have different plurals; English has the fewest that we use. */
const withoutPlural = (key: string) => key.replace(/_(zero|two|few|many)$/, '_other');

describe.each(names.filter((name) => name !== 'en.json'))('%s', (name) => {
  const other = texts(name);

  it('has the same keys as English', () => {
    expect([...new Set([...other.keys()].map(withoutPlural))].sort()).toEqual([...english.keys()].sort());
  });

  it('has the same values in each text, and no text is empty', () => {
    for (const [key, text] of other) {
      expect(text.trim(), key).not.toBe('');
      expect(values(text), key).toEqual(values(english.get(withoutPlural(key))));
    }
  });
});

/** Groups that are asked for by a word that the server says. */
const BY_WORD =
  /^(problem|kind|listener|refusal|warning|warningText|check|action|role|scope|status|result|login|settings\.tables|settings\.names)\./;

it('has no text that no page shows', () => {
  const sources = ['common', 'console'].flatMap((dir) =>
    readdirSync(dir, { recursive: true, encoding: 'utf8' })
      .filter((path) => /\.tsx?$/.test(path) && !path.includes('schema.d.ts'))
      .map((path) => readFileSync(`${dir}/${path}`, 'utf8')),
  );
  const all = sources.join('\n');
  const asked = (key: string) => {
    const plain = key.replace(/_(one|other)$/, '');
    const [group = '', ...rest] = plain.split('.');
    // `t(\`test.${step}\`)`: the whole group counts as shown.
    return (
      BY_WORD.test(plain) ||
      all.includes(`'${plain}'`) ||
      all.includes(`\`${[group, ...rest.slice(0, -1)].join('.')}.\${`) ||
      all.includes(`\`${group}.\${`)
    );
  };
  expect([...english.keys()].filter((key) => !asked(key))).toEqual([]);
});

const gatewaySource = (path: string) => readFileSync(`../gateway/src/${path}`, 'utf8');

it('has words for each case that the overview warns of', () => {
  const rows = [
    ...gatewaySource('console/warnings.rs').matchAll(/^\/\/! \| `([\w-]+)` \| ((?:`[\w-]+`(?:, )?)+) \|/gm),
  ];
  const cases = rows.flatMap(([, code, of = '']) => [...of.matchAll(/`([\w-]+)`/g)].map(([, one]) => `${code}-${one}`));
  expect(cases.length).toBeGreaterThan(10);
  for (const one of cases) {
    expect(english.has(`warningText.${one}`) || english.has(`warningText.${one}_other`), one).toBe(true);
  }
});

it('has words for each check of the doctor', () => {
  const names = ['certificate', 'clock', 'dns', 'files', 'mod', 'ports', 'way'].flatMap((file) =>
    [...gatewaySource(`doctor/${file}.rs`).matchAll(/const \w+: &str = "([^"]+)";/g)].map(([, name = '']) => name),
  );
  expect(names.length).toBeGreaterThan(10);
  for (const name of names) expect(english.has(`check.${name}`), name).toBe(true);
});
