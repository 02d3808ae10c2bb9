// Where the lines of a chart run. Pure.

/** A round number at or above `most`, for the top of the scale. */
export function roundUp(most: number): number {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= most) ?? 10;
  return step * power;
}

/** Means of so many points each, so that no more than `most` are drawn; a rest at the beginning is left out. */
export function thinned<P>(points: P[], most: number, mean: (group: P[]) => P): P[] {
  const size = Math.ceil(points.length / most);
  if (size <= 1) return points;
  const groups: P[] = [];
  for (let start = points.length % size; start < points.length; start += size) {
    groups.push(mean(points.slice(start, start + size)));
  }
  return groups;
}

/** An SVG path through values of 0 to 1, in a box of that size; the first value is at the left edge. */
export function linePath(values: number[], width: number, height: number): string {
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const at = (value: number, place: number) => `${(place * step).toFixed(1)} ${((1 - value) * height).toFixed(1)}`;
  return values.map((value, place) => `${place === 0 ? 'M' : 'L'}${at(value, place)}`).join('');
}
