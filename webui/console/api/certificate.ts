// The certificate that all ports serve, and putting another one in its place.
import { readEvents } from '@common/eventStream';
import { queryOptions, useMutation } from '@tanstack/react-query';
import { answer, api, BACKGROUND, OWN_PAGE } from './client';
import { problemOf } from './problem';
import { queryClient } from './query';
import type { CertificateToImport, Order, OrderStep, SelfSigned } from './schema';

const EVERY_MS = 15_000;

/** Asked for again by itself while it is on the screen; that keeps no session alive. */
export const certificateQuery = queryOptions({
  queryKey: ['certificate'],
  refetchInterval: EVERY_MS,
  queryFn: () => answer(api.GET('/api/v1/certificate', { headers: BACKGROUND })),
});

const changed = () => queryClient.invalidateQueries({ queryKey: ['certificate'] });

/** Connects to each port, so it is done when somebody asks. */
export const usePorts = () => useMutation({ mutationFn: () => answer(api.GET('/api/v1/certificate/ports')) });

export const useMakeSelfSigned = () =>
  useMutation({
    mutationFn: (body: SelfSigned) => answer(api.POST('/api/v1/certificate/self-signed', { body })),
    onSuccess: changed,
  });

export const useImportCertificate = () =>
  useMutation({
    mutationFn: (body: CertificateToImport) => answer(api.POST('/api/v1/certificate/import', { body })),
    onSuccess: changed,
  });

/** Asks the authority, and hands over each step. The order goes on when the page is left. */
export async function order(body: Order, signal: AbortSignal, take: (step: OrderStep) => void): Promise<void> {
  const headers = { ...OWN_PAGE, 'Content-Type': 'application/json' };
  const request = { method: 'POST', headers, body: JSON.stringify(body), signal };
  try {
    await readEvents('/api/v1/certificate/acme', request, (sent) => {
      if (sent.event === 'step') take(JSON.parse(sent.data) as OrderStep);
    });
  } catch (error) {
    if (error instanceof Response) throw problemOf(await error.json().catch(() => null), error.status);
    throw error;
  } finally {
    void changed();
  }
}

/** A file as base64, as it is sent. */
export async function base64(file: Blob): Promise<string> {
  const octets = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(octets, (octet) => String.fromCharCode(octet)).join(''));
}
