import { Failure } from '@common/components/Ask';
import { Toasts } from '@common/components/Toasts';
import { theme, variables } from '@common/design/theme';
import { Center, MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense, useEffect } from 'react';
import { onSignedOut } from './api/client';
import { useProblemText } from './api/problem';
import { queryClient } from './api/query';
import { sessionQuery, setSession, useSession } from './api/session';
import { forgetEnd, noteEnd } from './session/ended';
import { SignIn } from './session/SignIn';
import { Waiting } from './session/Waiting';

export function App({ nonce }: { nonce: string }) {
  return (
    <MantineProvider
      theme={theme}
      cssVariablesResolver={variables}
      defaultColorScheme="auto"
      getStyleNonce={() => nonce}
    >
      <QueryClientProvider client={queryClient}>
        <Toasts>
          <Entrance />
        </Toasts>
      </QueryClientProvider>
    </MantineProvider>
  );
}

/** Not needed before somebody is signed in. */
const Pages = lazy(async () => ({ default: (await import('./Pages')).Pages }));

/** Who is signed in sees the pages, whoever is not the sign-in page, under the same address. */
function Entrance() {
  const session = useSession();
  const problemText = useProblemText();
  useEffect(() => {
    onSignedOut(() => {
      if (queryClient.getQueryData(sessionQuery.queryKey)) noteEnd();
      setSession(null);
    });
  }, []);
  useEffect(() => {
    if (session.data?.stage === 'full') forgetEnd();
  }, [session.data?.stage]);
  if (session.isPending) return <Waiting />;
  if (session.isError) {
    return (
      <Center mih="100dvh" p="lg" component="main">
        <Failure text={problemText(session.error)} />
      </Center>
    );
  }
  if (session.data?.stage !== 'full') return <SignIn session={session.data} />;
  return (
    <Suspense fallback={<Waiting />}>
      <Pages />
    </Suspense>
  );
}
