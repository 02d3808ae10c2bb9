// The API as the server describes it (openapi.json): every path, parameter and answer is checked by the compiler.
import createClient, { type Middleware } from 'openapi-fetch';
import { problemOf } from './problem';
import type { paths } from './schema';

/** Says that a request comes from our own page; the server takes no change without it. */
export const OWN_PAGE = { 'X-Postern-Console': '1' } as const;
/** Says that the page asks by itself, which keeps no session alive. */
export const BACKGROUND = { 'X-Postern-Background': '1' } as const;

let signedOut: () => void = () => undefined;

/** Who is told when an answer says that the session is over. */
export function onSignedOut(tell: () => void) {
  signedOut = tell;
}

const session: Middleware = {
  onResponse({ response, schemaPath }) {
    const isSigningIn = schemaPath === '/api/v1/session' || schemaPath === '/api/v1/first-sign-in';
    if (response.status === 401 && !isSigningIn) signedOut();
  },
};

export const api = createClient<paths>({ baseUrl: location.origin, headers: OWN_PAGE });
api.use(session);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** What was asked for, or a `ProblemError`. */
export async function answer<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (!response.ok) throw problemOf(error, response.status);
  return data as T;
}
