import { useFormat } from '@common/format/useFormat';
import { useWord } from '@common/language/useWord';
import type { Warning } from '../../api/schema';

/** What a warning says in the language of the pages; a case that they do not know in the gateway's own words. */
export function useWarningText() {
  const word = useWord();
  const format = useFormat();
  return ({ code, case: of, text, values }: Warning): string => {
    const { name, hours, days, seconds, free_bytes, reason } = values;
    const key = `${code}-${of}`;
    const said = word('warningText', key, {
      name,
      reason,
      count: hours ?? days ?? (seconds === undefined || seconds === null ? 1 : Math.abs(seconds)),
      free: format.bytes(free_bytes ?? 0),
    });
    return said === key ? text : said;
  };
}
