// The certificate that all ports serve, and putting another one in its place.
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api, BACKGROUND } from './client';
import { queryClient } from './query';
import type { CertificateToImport, SelfSigned } from './schema';

const EVERY_MS = 15_000;

/** Asked for again by itself while it is on the screen; that keeps no session alive. */
export const certificateQuery = queryOptions({
  queryKey: ['certificate'],
  refetchInterval: EVERY_MS,
  queryFn: () => answer(api.GET('/api/v1/certificate', { headers: BACKGROUND })),
});

export const certificateChanged = () => queryClient.invalidateQueries({ queryKey: ['certificate'] });

/** Connects to each port, so it is done when somebody asks. */
export const usePorts = () => useMutation({ mutationFn: () => answer(api.GET('/api/v1/certificate/ports')) });

export const useMakeSelfSigned = () =>
  useMutation({
    mutationFn: (body: SelfSigned) => answer(api.POST('/api/v1/certificate/self-signed', { body })),
    onSuccess: certificateChanged,
  });

export const useImportCertificate = () =>
  useMutation({
    mutationFn: (body: CertificateToImport) => answer(api.POST('/api/v1/certificate/import', { body })),
    onSuccess: certificateChanged,
  });

/** A file as base64, as it is sent. */
export async function base64(file: Blob): Promise<string> {
  const octets = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(octets, (octet) => String.fromCharCode(octet)).join(''));
}
