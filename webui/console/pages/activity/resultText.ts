// What came of something, in the language of the pages: the gateway says it in a few fixed ways.
import { useWord } from '@common/language/useWord';

/** A way of saying it, the text for it, and the value in it: a count, or a word of its own. */
const WAYS: [RegExp, string, 'count' | 'login' | null][] = [
  [/^stored$/, 'stored', null],
  [/^opened, (\d+) wait$/, 'opened', 'count'],
  [/^(\d+) deleted$/, 'deleted', 'count'],
  [/^(\d+) more in this second$/, 'more', 'count'],
  [/^ended after (\d+) ms$/, 'ended', 'count'],
  [/^login refused: (.+)$/, 'login', 'login'],
];

type Word = ReturnType<typeof useWord>;

/** Whatever the pages have no words for stays as the gateway said it. */
export function resultText(word: Word, said: string): string {
  for (const [way, text, kind] of WAYS) {
    const found = way.exec(said);
    if (!found) continue;
    const value = found[1] ?? '';
    if (kind === null) return word('result', text);
    return word('result', text, kind === 'count' ? { count: Number(value) } : { reason: word('login', value) });
  }
  return word('refusal', said);
}

export function useResultText() {
  const word = useWord();
  return (said: string) => resultText(word, said);
}
