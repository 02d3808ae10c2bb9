import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api } from './client';
import { queryClient } from './query';
import type { ConfigurationChange } from './schema';

export const settingsQuery = queryOptions({
  queryKey: ['settings'],
  queryFn: () => answer(api.GET('/api/v1/settings')),
});

const settingsChanged = () => queryClient.invalidateQueries({ queryKey: ['settings'] });

export const useValidate = () =>
  useMutation({
    mutationFn: (body: ConfigurationChange) => answer(api.POST('/api/v1/settings/validate', { body })),
  });

export const useApply = () =>
  useMutation({
    mutationFn: (body: ConfigurationChange) => answer(api.PUT('/api/v1/settings', { body })),
    onSuccess: settingsChanged,
  });

export const useLogLevel = () =>
  useMutation({
    mutationFn: (level: string) => answer(api.PUT('/api/v1/log-level', { body: { level } })),
    onSuccess: settingsChanged,
  });

/** Reads the file again; the certificate's files as well. */
export const useReload = () =>
  useMutation({
    mutationFn: () => answer(api.POST('/api/v1/settings/reload')),
    onSuccess: () => Promise.all([settingsChanged(), queryClient.invalidateQueries({ queryKey: ['certificate'] })]),
  });

export const useRestart = () => useMutation({ mutationFn: () => answer(api.POST('/api/v1/restart')) });

/** Waits until the gateway has gone and answers again. */
export async function answersAgain(signal: AbortSignal): Promise<void> {
  let gone = false;
  while (!signal.aborted) {
    const answers = await fetch('/api/v1/session', { cache: 'no-store', signal }).then(
      (response) => response.status,
      () => null,
    );
    // Sessions end with a restart: an answer that knows nobody is the new run's.
    if (answers === null) gone = true;
    else if (gone || answers === 401) return;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
