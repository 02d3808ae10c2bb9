// Administrators and tokens.
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api } from './client';
import { queryClient } from './query';
import type { NewAdministrator, Role, TokenRequest } from './schema';

export const administratorsQuery = queryOptions({
  queryKey: ['administrators'],
  queryFn: () => answer(api.GET('/api/v1/administrators')),
});

const administratorsChanged = () => queryClient.invalidateQueries({ queryKey: ['administrators'] });
const named = (name: string) => ({ params: { path: { name } } });

export const useCreateAdministrator = () =>
  useMutation({
    mutationFn: (body: NewAdministrator) => answer(api.POST('/api/v1/administrators', { body })),
    onSuccess: administratorsChanged,
  });

export const useChangeRole = (name: string) =>
  useMutation({
    mutationFn: (role: Role) => answer(api.PATCH('/api/v1/administrators/{name}', { ...named(name), body: { role } })),
    onSuccess: administratorsChanged,
  });

export const useResetAdministrator = (name: string) =>
  useMutation({
    mutationFn: (clear: boolean) =>
      answer(
        api.POST('/api/v1/administrators/{name}/reset-password', {
          ...named(name),
          body: { clear_second_factors: clear },
        }),
      ),
    onSuccess: administratorsChanged,
  });

export const useEndAdministratorSessions = (name: string) =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/administrators/{name}/sessions', named(name))),
    onSuccess: administratorsChanged,
  });

export const useRemoveAdministrator = (name: string) =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/administrators/{name}', named(name))),
    onSuccess: administratorsChanged,
  });

export const tokensQuery = queryOptions({
  queryKey: ['tokens'],
  queryFn: () => answer(api.GET('/api/v1/tokens')),
});

const tokensChanged = () => queryClient.invalidateQueries({ queryKey: ['tokens'] });

export const useCreateToken = () =>
  useMutation({
    mutationFn: (body: TokenRequest) => answer(api.POST('/api/v1/tokens', { body })),
    onSuccess: tokensChanged,
  });

export const useRemoveToken = (id: string) =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/tokens/{id}', { params: { path: { id } } })),
    onSuccess: tokensChanged,
  });
