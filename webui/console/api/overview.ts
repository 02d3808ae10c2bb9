// The overview, live: a stream of events, opened again when it breaks.

import { readEvents } from '@common/eventStream';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { answer, api, BACKGROUND } from './client';
import type { Course, OverviewWithCourse } from './schema';

export type Span = 'hour' | 'day';

const AGAIN_MS = 2_000;
const DAY_EVERY_MS = 60_000;

export function useOverview(span: Span) {
  const client = useQueryClient();
  const [live, setLive] = useState(false);
  const query = useQuery({
    queryKey: ['overview', span],
    refetchInterval: span === 'day' ? DAY_EVERY_MS : false,
    queryFn: () => answer(api.GET('/api/v1/overview', { params: { query: { span } }, headers: BACKGROUND })),
  });
  useEffect(() => {
    const leaving = new AbortController();
    const take = (news: OverviewWithCourse) => {
      setLive(true);
      client.setQueryData<OverviewWithCourse>(['overview', 'hour'], (before) => before && merged(before, news));
      client.setQueryData<OverviewWithCourse>(['overview', 'day'], (before) =>
        before ? { ...before, overview: news.overview } : before,
      );
    };
    void listen(leaving.signal, take, () => {
      setLive(false);
      // Tells whether the session is over, too.
      void client.invalidateQueries({ queryKey: ['overview'] });
    });
    return () => leaving.abort();
  }, [client]);
  return { ...query, live };
}

async function listen(signal: AbortSignal, take: (news: OverviewWithCourse) => void, broken: () => void) {
  while (!signal.aborted) {
    try {
      await readEvents('/api/v1/overview/events', { headers: BACKGROUND, signal }, (sent) => {
        if (sent.event === 'overview') take(JSON.parse(sent.data) as OverviewWithCourse);
      });
    } catch {
      // Whatever it was: told below, and tried again.
    }
    if (signal.aborted) return;
    broken();
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

const HOUR_POINTS = 720;

/** The newest points in place of those of the same time, and behind the others. */
export function merged(before: OverviewWithCourse, news: OverviewWithCourse): OverviewWithCourse {
  const first = news.course.points[0]?.at ?? Number.POSITIVE_INFINITY;
  const kept = before.course.points.filter((point) => point.at < first);
  const course: Course = { ...before.course, points: [...kept, ...news.course.points].slice(-HOUR_POINTS) };
  return { overview: news.overview, course };
}
