import type { ReactNode } from 'react';
import classes from './Status.module.css';

export type Tone = 'good' | 'warn' | 'bad' | 'calm' | 'info';

/** A state in a word: a dot for the eye, the word for everybody. */
export function Status({ tone, children, plain }: { tone: Tone; children: ReactNode; plain?: boolean }) {
  return (
    <span className={classes.status} data-tone={tone} data-plain={plain || undefined}>
      {!plain && <span className={classes.dot} aria-hidden />}
      {children}
    </span>
  );
}
