// Looking for trouble, and accounts at providers that take no passwords.
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api } from './client';
import { queryClient } from './query';

/** Connects to ports and asks name servers, so it is done when somebody asks. */
export const useExamine = () => useMutation({ mutationFn: () => answer(api.POST('/api/v1/doctor')) });

export const bindingsQuery = queryOptions({
  queryKey: ['bindings'],
  queryFn: () => answer(api.GET('/api/v1/oauth/bindings')),
});

export const bindingsChanged = () => queryClient.invalidateQueries({ queryKey: ['bindings'] });

export const usePasteAddress = () =>
  useMutation({
    mutationFn: (body: { id: string; address: string }) => answer(api.POST('/api/v1/oauth/bindings/address', { body })),
  });

export const useRevoke = () =>
  useMutation({
    mutationFn: (body: { user: string; forget: boolean }) =>
      answer(api.POST('/api/v1/oauth/bindings/revoke', { body })),
    onSuccess: bindingsChanged,
  });
