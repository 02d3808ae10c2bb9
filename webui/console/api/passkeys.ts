import { askPasskey, makePasskey } from '@common/passkey';
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api } from './client';
import { queryClient } from './query';
import type { CreatedCredential, UsedCredential } from './schema';
import { setSession } from './session';

export const passkeysQuery = queryOptions({
  queryKey: ['passkeys'],
  queryFn: () => answer(api.GET('/api/v1/account/passkeys')),
});

const changed = () =>
  Promise.all([
    queryClient.invalidateQueries({ queryKey: ['passkeys'] }),
    queryClient.invalidateQueries({ queryKey: ['session'] }),
  ]);

/** Asks for what the browser needs, lets it make a passkey, and hands that over. */
export const useAddPasskey = () =>
  useMutation({
    mutationFn: async ({ name, password }: { name: string; password: string }) => {
      const options = await answer(api.POST('/api/v1/account/passkeys', { body: { password } }));
      const credential = (await makePasskey(options)) as unknown as CreatedCredential;
      return answer(api.PUT('/api/v1/account/passkeys', { body: { name, credential } }));
    },
    onSuccess: changed,
  });

export const useRenamePasskey = (id: string) =>
  useMutation({
    mutationFn: (name: string) =>
      answer(api.PATCH('/api/v1/account/passkeys/{id}', { params: { path: { id } }, body: { name } })),
    onSuccess: changed,
  });

export const useRemovePasskey = (id: string) =>
  useMutation({
    mutationFn: (password: string) =>
      answer(api.POST('/api/v1/account/passkeys/{id}/remove', { params: { path: { id } }, body: { password } })),
    onSuccess: changed,
  });

/** The second factor of a sign-in. */
export const usePasskeySignIn = () =>
  useMutation({
    mutationFn: async () => {
      const options = await answer(api.POST('/api/v1/session/passkey'));
      const passkey = (await askPasskey(options)) as unknown as UsedCredential;
      return answer(api.POST('/api/v1/session/second-factor', { body: { passkey } }));
    },
    onSuccess: setSession,
  });
