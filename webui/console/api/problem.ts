// What went wrong, as the API tells it (RFC 9457), and in the language of the pages.

import { useWord } from '@common/language/useWord';
import { NoPasskey } from '@common/passkey';
import { useTranslation } from 'react-i18next';
import type { Problem } from './schema';

export class ProblemError extends Error {
  /** A word that does not change, like `not-empty`. */
  readonly word: string;
  readonly status: number;
  readonly retryAfterSeconds: number | null;

  constructor(problem: Pick<Problem, 'type' | 'status' | 'detail' | 'retry_after_seconds'>) {
    super(problem.detail);
    this.name = 'ProblemError';
    this.word = problem.type.replace('urn:postern:problem:', '');
    this.status = problem.status;
    this.retryAfterSeconds = problem.retry_after_seconds ?? null;
  }
}

/** A problem out of any answer. */
export function problemOf(body: unknown, status: number): ProblemError {
  if (isProblem(body)) return new ProblemError(body);
  return new ProblemError({ type: 'urn:postern:problem:no-answer', status, detail: `HTTP ${status}` });
}

function isProblem(body: unknown): body is Problem {
  return typeof body === 'object' && body !== null && 'type' in body && 'detail' in body && 'status' in body;
}

/** The problem's own sentence says more than its kind does: which field, which key, whose. */
const SPECIFIC = new Set([
  'invalid',
  'bad-password',
  'taken',
  'damaged',
  'disk',
  'second-factor',
  'environment',
  'unreadable',
  'bad-certificate',
  'no-such-way',
  'oauth',
]);

/** Turns whatever was thrown into a sentence for people. */
export function useProblemText() {
  const { t, i18n } = useTranslation();
  const word = useWord();
  return (error: unknown): string | null => {
    if (error === null || error === undefined) return null;
    if (error instanceof NoPasskey) return t('passkey.none');
    if (!(error instanceof ProblemError)) return t('problem.no-answer');
    const said = word('problem', error.word, { count: error.retryAfterSeconds ?? 1 });
    if (said === error.word) return sentence(error.message);
    if (!SPECIFIC.has(error.word)) return said;
    return i18n.language === 'en' ? sentence(error.message) : `${said} (${error.message})`;
  };
}

/** A sentence of the gateway's, as a page shows it. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
