export type SortValue = string | number | null | undefined;

/** A sorted copy; what has no value comes last either way. */
export function sorted<R>(rows: readonly R[], by: (row: R) => SortValue, descending: boolean): R[] {
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
  const sign = descending ? -1 : 1;
  return [...rows].sort((one, other) => {
    const [a, b] = [by(one) ?? null, by(other) ?? null];
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    if (typeof a === 'number' && typeof b === 'number') return sign * (a - b);
    return sign * words.compare(String(a), String(b));
  });
}
