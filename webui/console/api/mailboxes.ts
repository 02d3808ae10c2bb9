import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api, BACKGROUND } from './client';
import { queryClient } from './query';
import type { MailboxEdit, NewMailbox } from './schema';

const EVERY_MS = 3_000;

/** Asked for again by itself while it is on the screen; that keeps no session alive. */
export const mailboxesQuery = queryOptions({
  queryKey: ['mailboxes'],
  refetchInterval: EVERY_MS,
  queryFn: () => answer(api.GET('/api/v1/mailboxes', { headers: BACKGROUND })),
});

export const mailboxQuery = (id: string) =>
  queryOptions({
    queryKey: ['mailboxes', id],
    refetchInterval: EVERY_MS,
    queryFn: () => answer(api.GET('/api/v1/mailboxes/{id}', { params: { path: { id } }, headers: BACKGROUND })),
  });

export const connectQuery = (id: string) =>
  queryOptions({
    queryKey: ['connect', id],
    queryFn: () => answer(api.GET('/api/v1/mailboxes/{id}/connect', { params: { path: { id } } })),
  });

const changed = () => queryClient.invalidateQueries({ queryKey: ['mailboxes'] });

export const useCreateMailbox = () =>
  useMutation({
    mutationFn: (body: NewMailbox) => answer(api.POST('/api/v1/mailboxes', { body })),
    onSuccess: changed,
  });

export const useEditMailbox = (id: string) =>
  useMutation({
    mutationFn: (body: MailboxEdit) => answer(api.PATCH('/api/v1/mailboxes/{id}', { params: { path: { id } }, body })),
    onSuccess: changed,
  });

export const useDeleteMailbox = (id: string) =>
  useMutation({
    mutationFn: () => answer(api.DELETE('/api/v1/mailboxes/{id}', { params: { path: { id } } })),
    onSuccess: () => {
      queryClient.removeQueries({ queryKey: ['mailboxes', id] });
      return changed();
    },
  });

export const useResetMailboxPassword = (id: string) =>
  useMutation({
    mutationFn: () => answer(api.POST('/api/v1/mailboxes/{id}/reset-password', { params: { path: { id } } })),
    onSuccess: changed,
  });
