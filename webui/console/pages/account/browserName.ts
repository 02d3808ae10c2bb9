// The order matters: most browsers also call themselves what came before them.
const BROWSERS: [RegExp, string][] = [
  [/Edg\//, 'Edge'],
  [/OPR\//, 'Opera'],
  [/Firefox\//, 'Firefox'],
  [/Chrom(e|ium)\//, 'Chrome'],
  [/Safari\//, 'Safari'],
  [/curl\//, 'curl'],
];
const SYSTEMS: [RegExp, string][] = [
  [/Windows/, 'Windows'],
  [/iPhone|iPad/, 'iOS'],
  [/Android/, 'Android'],
  [/Mac OS X/, 'macOS'],
  [/Linux/, 'Linux'],
];

/** What a browser calls itself, in the words people use; the beginning of the text when it is none that we know. */
export function browserName(agent: string): string {
  const name = (known: [RegExp, string][]) => known.find(([pattern]) => pattern.test(agent))?.[1];
  const found = [name(BROWSERS), name(SYSTEMS)].filter((part) => part !== undefined);
  return found.length > 0 ? found.join(' · ') : agent.slice(0, 60) || '–';
}
