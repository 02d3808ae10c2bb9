// Sizes, numbers and times as the language writes them. Pure: the language and the present come in.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

export function bytes(language: string, octets: number): string {
  let value = octets;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${number(language, value, digits)} ${UNITS[unit]}`;
}

export function number(language: string, value: number, digits = 0): string {
  return new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** Few digits for small rates, none for large ones. */
export function rate(language: string, perSecond: number): string {
  return number(language, perSecond, perSecond > 0 && perSecond < 10 ? (perSecond < 1 ? 2 : 1) : 0);
}

export function dateTime(language: string, at: number): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' }).format(at);
}

export function date(language: string, at: number): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium' }).format(at);
}

export function clockTime(language: string, at: number): string {
  return new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' }).format(at);
}

const SPANS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86_400],
  ['month', 30 * 86_400],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];

/** “3 minutes ago”, “in 2 days”; less than a minute is “now”. */
export function ago(language: string, at: number, now: number): string {
  const seconds = (at - now) / 1000;
  const words = new Intl.RelativeTimeFormat(language, { numeric: 'auto', style: 'short' });
  for (const [unit, length] of SPANS) {
    if (Math.abs(seconds) >= length) return words.format(Math.trunc(seconds / length), unit);
  }
  return words.format(0, 'second');
}

/** “2 days 4 hours”: the two largest parts. */
export function duration(language: string, seconds: number): string {
  const parts: string[] = [];
  let left = seconds;
  for (const [unit, length] of SPANS.slice(2)) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count > 0 && parts.length < 2) {
      parts.push(new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(count));
    }
  }
  const whole = () =>
    new Intl.NumberFormat(language, { style: 'unit', unit: 'second', unitDisplay: 'long' }).format(Math.floor(left));
  return parts.length > 0 ? parts.join(' ') : whole();
}
