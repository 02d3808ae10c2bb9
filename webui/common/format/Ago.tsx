import { useSyncExternalStore } from 'react';
import { useFormat } from './useFormat';

const TICK_MS = 15_000;
let now = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void) {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = Date.now();
    for (const tell of listeners) tell();
  }, TICK_MS);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** The present, every quarter of a minute anew; one timer for the whole page. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

/** “3 min. ago”, with the exact time for who asks. */
export function Ago({ at, none }: { at: number | null | undefined; none?: string }) {
  const format = useFormat();
  const present = useNow();
  if (at === null || at === undefined) return <span className="dim">{none ?? '–'}</span>;
  return (
    <time className="nowrap" dateTime={new Date(at).toISOString()} title={format.dateTime(at)}>
      {format.ago(at, Math.max(present, at))}
    </time>
  );
}

/** A point in time, in full. */
export function At({ at }: { at: number }) {
  const format = useFormat();
  return (
    <time className="nowrap numbers" dateTime={new Date(at).toISOString()}>
      {format.dateTime(at)}
    </time>
  );
}
