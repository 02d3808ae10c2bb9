// Actions that tell each of their steps as it happens (server-sent events `step`).
import { readEvents } from '@common/eventStream';
import { useEffect, useRef, useState } from 'react';
import { OWN_PAGE } from './client';
import { problemOf } from './problem';

export interface Steps<Step> {
  steps: Step[];
  running: boolean;
  /** Why it could not begin, or was cut off. */
  problem: unknown;
  begin: (body?: object) => void;
  /** Listens no more, and forgets what was told. */
  end: () => void;
}

interface Listening<Step> {
  onStep?: (step: Step) => void;
  onEnd?: () => void;
}

/** What the action at `path` tells. Leaving the page ends the listening. */
export function useSteps<Step>(path: string, { onStep, onEnd }: Listening<Step> = {}): Steps<Step> {
  const [steps, setSteps] = useState<Step[]>([]);
  const [running, setRunning] = useState(false);
  const [problem, setProblem] = useState<unknown>(null);
  const leaving = useRef<AbortController | null>(null);
  useEffect(() => () => leaving.current?.abort(), []);
  const end = () => {
    leaving.current?.abort();
    setSteps([]);
    setProblem(null);
    setRunning(false);
  };
  const begin = (body?: object) => {
    end();
    const controller = new AbortController();
    leaving.current = controller;
    const { signal } = controller;
    setRunning(true);
    const take = (step: Step) => {
      if (signal.aborted) return;
      setSteps((before) => [...before, step]);
      onStep?.(step);
    };
    read(path, body, signal, take)
      .catch((error: unknown) => !signal.aborted && setProblem(error))
      .finally(() => {
        if (!signal.aborted) setRunning(false);
        onEnd?.();
      });
  };
  return { steps, running, problem, begin, end };
}

async function read<Step>(path: string, body: object | undefined, signal: AbortSignal, take: (step: Step) => void) {
  const sent = body ? { headers: { ...OWN_PAGE, 'Content-Type': 'application/json' }, body: JSON.stringify(body) } : {};
  try {
    await readEvents(path, { method: 'POST', headers: OWN_PAGE, signal, ...sent }, ({ event, data }) => {
      if (event === 'step') take(JSON.parse(data) as Step);
    });
  } catch (error) {
    if (error instanceof Response) throw problemOf(await error.json().catch(() => null), error.status);
    throw error;
  }
}
