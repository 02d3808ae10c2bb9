import { useTranslation } from 'react-i18next';

/** A text for a word that comes from the server, like `word('refusal', 'relay')`; the word itself when there is none. */
export function useWord() {
  const { i18n } = useTranslation();
  return (group: string, word: string, values?: Record<string, unknown>): string => {
    // Dots would be read as steps into the file.
    const key = `${group}.${word.replaceAll('.', '-')}`;
    if (!i18n.exists(key, values)) return word;
    // The compiler knows the keys of our own files only.
    const translate = i18n.t as unknown as (key: string, values?: Record<string, unknown>) => string;
    return translate(key, values);
  };
}
