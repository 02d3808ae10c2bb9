import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import * as format from './format';

/** Formats in the language of the pages. */
export function useFormat() {
  const language = useTranslation().i18n.language;
  return useMemo(
    () => ({
      bytes: (octets: number) => format.bytes(language, octets),
      number: (value: number, digits?: number) => format.number(language, value, digits),
      rate: (perSecond: number) => format.rate(language, perSecond),
      dateTime: (at: number) => format.dateTime(language, at),
      date: (at: number) => format.date(language, at),
      clockTime: (at: number) => format.clockTime(language, at),
      ago: (at: number, now: number) => format.ago(language, at, now),
      duration: (seconds: number) => format.duration(language, seconds),
    }),
    [language],
  );
}
