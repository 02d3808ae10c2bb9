import { infiniteQueryOptions, keepPreviousData } from '@tanstack/react-query';
import { answer, api, BACKGROUND } from './client';
import type { Kind } from './schema';

const PAGE = 100;
const EVERY_MS = 4_000;

export interface ActivityFilter {
  text: string;
  kind: Kind | null;
  mailbox: string | null;
  /** Only what happened in the last so many milliseconds. */
  within: number | null;
}

/** What happened, the newest first; asked for again by itself as long as only the first page is open. */
export const activityQuery = (filter: ActivityFilter) =>
  infiniteQueryOptions({
    queryKey: ['activity', filter],
    queryFn: ({ pageParam }) => {
      const { text, kind, mailbox, within } = filter;
      const from = within === null ? null : Date.now() - within;
      const query = { limit: PAGE, ...given({ text: text || null, kind, mailbox, from, before: pageParam }) };
      return answer(api.GET('/api/v1/activity', { params: { query }, headers: BACKGROUND }));
    },
    initialPageParam: null as number | null,
    placeholderData: keepPreviousData,
    refetchInterval: (query) => ((query.state.data?.pages.length ?? 1) > 1 ? false : EVERY_MS),
    getNextPageParam: (last) => last.next ?? undefined,
  });

export const auditQuery = (text: string) =>
  infiniteQueryOptions({
    queryKey: ['audit', text],
    queryFn: ({ pageParam }) => {
      const query = { limit: PAGE, ...given({ text: text || null, before: pageParam }) };
      return answer(api.GET('/api/v1/audit', { params: { query } }));
    },
    initialPageParam: null as number | null,
    placeholderData: keepPreviousData,
    getNextPageParam: (last) => last.next ?? undefined,
  });

/** Only what is given. */
function given<T extends Record<string, unknown>>(all: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
