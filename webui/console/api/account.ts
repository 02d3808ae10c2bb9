// One's own account.
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api } from './client';
import { queryClient } from './query';
import { setSession } from './session';

const accountChanged = () =>
  Promise.all([
    queryClient.invalidateQueries({ queryKey: ['session'] }),
    queryClient.invalidateQueries({ queryKey: ['own-sessions'] }),
  ]);

export const useChangePassword = () =>
  useMutation({
    mutationFn: (body: { current: string; new: string }) => answer(api.PUT('/api/v1/account/password', { body })),
    onSuccess: accountChanged,
  });

export const useBeginTotp = () =>
  useMutation({
    mutationFn: (password: string) => answer(api.POST('/api/v1/account/totp', { body: { password } })),
  });

export const useConfirmTotp = () =>
  useMutation({
    mutationFn: (code: string) => answer(api.PUT('/api/v1/account/totp', { body: { code } })),
    onSuccess: accountChanged,
  });

export const useRemoveTotp = () =>
  useMutation({
    mutationFn: (password: string) => answer(api.POST('/api/v1/account/totp/remove', { body: { password } })),
    onSuccess: accountChanged,
  });

export const useRenewRecoveryCodes = () =>
  useMutation({
    mutationFn: (password: string) => answer(api.POST('/api/v1/account/recovery-codes', { body: { password } })),
    onSuccess: accountChanged,
  });

export const ownSessionsQuery = queryOptions({
  queryKey: ['own-sessions'],
  queryFn: () => answer(api.GET('/api/v1/account/sessions')),
});

export const useEndSession = () =>
  useMutation({
    mutationFn: (id: string) => answer(api.DELETE('/api/v1/account/sessions/{id}', { params: { path: { id } } })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: ['own-sessions'] }),
  });

export const useSignOutEverywhere = () =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/account/sessions')),
    onSuccess: () => setSession(null),
  });
