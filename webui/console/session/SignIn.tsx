// The steps of signing in: the password, a second factor, and at the very first time the password from then on.

import { Failure } from '@common/components/Ask';
import { Alert, Anchor, Button, Group, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../api/problem';
import type { SessionInfo } from '../api/schema';
import { signInPageQuery, useFirstSignIn, useSecondFactor, useSignIn, useSignOut } from '../api/session';
import { hasEnded } from './ended';
import { FirstPassword, PasswordGone } from './FirstPassword';
import { Gate } from './Gate';

export function SignIn({ session }: { session: SessionInfo | null }) {
  const page = useQuery(signInPageQuery);
  const first = useFirstSignIn();
  if (first.data) return <FirstPassword password={first.data.password} />;
  if (session?.stage === 'password_shown') return <PasswordGone />;
  if (session?.stage === 'second_factor') return <SecondFactor session={session} />;
  return page.data?.first ? <FirstTime first={first} /> : <Password />;
}

function FirstTime({ first }: { first: ReturnType<typeof useFirstSignIn> }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  return (
    <Gate title={t('signIn.firstTitle')}>
      <Alert variant="light" icon={<IconInfoCircle size={18} />}>
        {t('signIn.firstHint')}
      </Alert>
      <NameAndPassword
        busy={first.isPending}
        problem={problemText(first.error)}
        onSubmit={(name, password) => first.mutate({ name, password })}
      />
    </Gate>
  );
}

function Password() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const signIn = useSignIn();
  return (
    <Gate title={t('signIn.title')}>
      {hasEnded() && !signIn.error && (
        <Alert variant="light" color="orange" role="status" icon={<IconInfoCircle size={18} />}>
          {t('signIn.ended')}
        </Alert>
      )}
      <NameAndPassword
        busy={signIn.isPending}
        problem={problemText(signIn.error)}
        onSubmit={(name, password) => signIn.mutate({ name, password })}
      />
    </Gate>
  );
}

interface NameAndPasswordProps {
  busy: boolean;
  problem: string | null;
  onSubmit: (name: string, password: string) => void;
}

function NameAndPassword({ busy, problem, onSubmit }: NameAndPasswordProps) {
  const { t } = useTranslation();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSubmit(name.trim(), password);
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <Failure text={problem} />
        <TextInput
          label={t('signIn.name')}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          required
          withAsterisk={false}
        />
        <PasswordInput
          label={t('signIn.password')}
          value={password}
          onChange={(event) => setPassword(event.currentTarget.value)}
          autoComplete="current-password"
          visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
          required
          withAsterisk={false}
        />
        <Button type="submit" size="md" loading={busy} fullWidth>
          {t('signIn.submit')}
        </Button>
      </Stack>
    </form>
  );
}

function SecondFactor({ session }: { session: SessionInfo }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const second = useSecondFactor();
  const signOut = useSignOut();
  const [recovery, setRecovery] = useState(false);
  const [code, setCode] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const given = code.replaceAll(/\s/g, '');
    second.mutate(recovery ? { recovery_code: code.trim() } : { totp: given }, { onError: () => setCode('') });
  };
  return (
    <Gate title={t('signIn.secondTitle')}>
      <Text size="sm" c="dimmed">
        {recovery ? t('signIn.recoveryHint') : t('signIn.totpHint', { name: session.name })}
      </Text>
      <form onSubmit={submit}>
        <Stack gap="md">
          <Failure text={problemText(second.error)} />
          <TextInput
            key={recovery ? 'recovery' : 'totp'}
            label={recovery ? t('signIn.recoveryCode') : t('signIn.totpCode')}
            value={code}
            onChange={(event) => setCode(event.currentTarget.value)}
            inputMode={recovery ? 'text' : 'numeric'}
            autoComplete="one-time-code"
            spellCheck={false}
            autoFocus
            required
            withAsterisk={false}
            classNames={{ input: 'mono' }}
            size="md"
          />
          <Button type="submit" size="md" loading={second.isPending} fullWidth>
            {t('signIn.continue')}
          </Button>
          <Group justify="space-between">
            {session.second_factors.includes('recovery_code') ? (
              <Anchor
                component="button"
                type="button"
                size="sm"
                onClick={() => {
                  setRecovery(!recovery);
                  setCode('');
                }}
              >
                {recovery ? t('signIn.useTotp') : t('signIn.useRecovery')}
              </Anchor>
            ) : (
              <span />
            )}
            <Anchor component="button" type="button" size="sm" onClick={() => signOut.mutate()}>
              {t('signIn.other')}
            </Anchor>
          </Group>
        </Stack>
      </form>
    </Gate>
  );
}
