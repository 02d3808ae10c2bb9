// Sizes as people type them: "200 MiB", "1,5 GB", "4096".

const FACTORS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1024,
  kb: 1000,
  kib: 1024,
  m: 1024 ** 2,
  mb: 1000 ** 2,
  mib: 1024 ** 2,
  g: 1024 ** 3,
  gb: 1000 ** 3,
  gib: 1024 ** 3,
  t: 1024 ** 4,
  tb: 1000 ** 4,
  tib: 1024 ** 4,
};

/** Octets; `null` for nothing at all, `undefined` for what is no size. */
export function parseSize(text: string): number | null | undefined {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  const parts = /^(\d+(?:[.,]\d+)?)\s*([a-z]*)$/i.exec(trimmed);
  const factor = FACTORS[(parts?.[2] ?? '?').toLowerCase()];
  if (!parts?.[1] || factor === undefined) return undefined;
  const octets = Math.round(Number(parts[1].replace(',', '.')) * factor);
  return Number.isSafeInteger(octets) && octets > 0 ? octets : undefined;
}

/** The shortest text that is exactly so many octets. */
export function sizeText(octets: number | null | undefined): string {
  if (octets === null || octets === undefined) return '';
  for (const [unit, factor] of [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['KiB', 1024],
  ] as const) {
    if (octets % factor === 0) return `${octets / factor} ${unit}`;
  }
  return String(octets);
}
