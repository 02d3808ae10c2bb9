import { queryOptions, useMutation, useQuery } from '@tanstack/react-query';
import { answer, api } from './client';
import { ProblemError } from './problem';
import { queryClient } from './query';
import type { Role, SessionInfo } from './schema';

const KEY = ['session'];

/** Who is signed in; `null` when nobody is. */
export const sessionQuery = queryOptions({
  queryKey: KEY,
  staleTime: Number.POSITIVE_INFINITY,
  queryFn: async (): Promise<SessionInfo | null> => {
    try {
      return await answer(api.GET('/api/v1/session'));
    } catch (error) {
      if (error instanceof ProblemError && error.status === 401) return null;
      throw error;
    }
  },
});

export const signInPageQuery = queryOptions({
  queryKey: ['sign-in'],
  queryFn: () => answer(api.GET('/api/v1/sign-in')),
});

export const useSession = () => useQuery(sessionQuery);

/** Takes over what the server says of the session. Another one's data are forgotten. */
export function setSession(session: SessionInfo | null) {
  if (session === null) queryClient.removeQueries({ predicate: (query) => query.queryKey[0] !== KEY[0] });
  queryClient.setQueryData(KEY, session);
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, administrator: 2 };

/** Whether who is signed in has at least that role. */
export function useMay(role: Role): boolean {
  const mine = useSession().data?.role;
  return mine !== undefined && RANK[mine] >= RANK[role];
}

export const useSignIn = () =>
  useMutation({
    mutationFn: (body: { name: string; password: string }) => answer(api.POST('/api/v1/session', { body })),
    onSuccess: setSession,
  });

/** The session is taken over only when the password is said to be stored, so that it stays on the screen until then. */
export const useFirstSignIn = () =>
  useMutation({
    mutationFn: (body: { name: string; password: string }) => answer(api.POST('/api/v1/first-sign-in', { body })),
  });

export const usePasswordStored = () =>
  useMutation({
    mutationFn: () => answer(api.POST('/api/v1/session/password-stored')),
    onSuccess: setSession,
  });

export const useSecondFactor = () =>
  useMutation({
    mutationFn: (body: { totp: string } | { recovery_code: string }) =>
      answer(api.POST('/api/v1/session/second-factor', { body })),
    onSuccess: setSession,
  });

export const useSignOut = () =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/session')),
    onSettled: () => setSession(null),
  });
