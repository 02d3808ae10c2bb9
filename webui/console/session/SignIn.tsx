// The steps of signing in: the password, a second factor, and at the very first time the password from then on.

import { Failure } from '@common/components/Ask';
import { CopyField } from '@common/components/Copy';
import { Alert, Anchor, Button, Divider, Group, PasswordInput, Stack, Text, TextInput } from '@mantine/core';
import { IconFingerprint, IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { type FormEvent, type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { usePasskeySignIn } from '../api/passkeys';
import { useProblemText } from '../api/problem';
import type { SessionInfo } from '../api/schema';
import { signInPageQuery, useFirstSignIn, useSecondFactor, useSignIn, useSignOut } from '../api/session';
import { hasEnded } from './ended';
import { FirstPassword, PasswordGone } from './FirstPassword';
import { Gate } from './Gate';
import { Waiting } from './Waiting';

export function SignIn({ session }: { session: SessionInfo | null }) {
  const page = useQuery(signInPageQuery);
  const first = useFirstSignIn();
  if (first.data) return <FirstPassword password={first.data.password} />;
  if (session?.stage === 'password_shown') return <PasswordGone />;
  if (session?.stage === 'second_factor') return <SecondFactor session={session} />;
  // Not before it is known which form it is: what was typed into the wrong one would be gone.
  if (page.isPending) return <Waiting />;
  return page.data?.first ? <FirstTime first={first} code={page.data.setup_code_needed} /> : <Password />;
}

function FirstTime({ first, code }: { first: ReturnType<typeof useFirstSignIn>; code: boolean }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [setupCode, setSetupCode] = useState('');
  return (
    <Gate title={t('signIn.firstTitle')}>
      <Alert variant="light" icon={<IconInfoCircle size={18} />}>
        {t('signIn.firstHint')}
      </Alert>
      <NameAndPassword
        busy={first.isPending}
        problem={problemText(first.error)}
        onSubmit={(name, password) => first.mutate({ name, password, setup_code: setupCode.trim() || null })}
      >
        {code && (
          <div>
            <TextInput
              label={t('signIn.setupCode')}
              description={t('signIn.setupCodeAbout')}
              value={setupCode}
              onChange={(event) => setSetupCode(event.currentTarget.value)}
              classNames={{ input: 'mono' }}
              autoComplete="off"
              spellCheck={false}
              required
              withAsterisk={false}
              mb="xs"
            />
            <CopyField
              text="postern-gateway admin setup-code"
              label={t('common.copy', { what: t('common.command') })}
            />
          </div>
        )}
      </NameAndPassword>
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
  /** More fields. */
  children?: ReactNode;
}

function NameAndPassword({ busy, problem, onSubmit, children }: NameAndPasswordProps) {
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
        {children}
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
  const passkey = usePasskeySignIn();
  const has = (factor: string) => session.second_factors.includes(factor);
  const [recovery, setRecovery] = useState(false);
  // Without the app only recovery codes are typed.
  const typesRecovery = recovery || !has('totp');
  const [code, setCode] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const given = code.replaceAll(/\s/g, '');
    second.mutate(typesRecovery ? { recovery_code: code.trim() } : { totp: given }, { onError: () => setCode('') });
  };
  return (
    <Gate title={t('signIn.secondTitle')}>
      {has('passkey') && (
        <>
          <Failure text={problemText(passkey.error)} />
          <Button
            size="md"
            leftSection={<IconFingerprint size={18} />}
            loading={passkey.isPending}
            onClick={() => passkey.mutate()}
          >
            {t('passkey.use')}
          </Button>
          <Divider label={t('signIn.or')} />
        </>
      )}
      <Text size="sm" c="dimmed">
        {typesRecovery ? t('signIn.recoveryHint') : t('signIn.totpHint', { name: session.name })}
      </Text>
      <form onSubmit={submit}>
        <Stack gap="md">
          <Failure text={problemText(second.error)} />
          <TextInput
            key={typesRecovery ? 'recovery' : 'totp'}
            label={typesRecovery ? t('signIn.recoveryCode') : t('signIn.totpCode')}
            value={code}
            onChange={(event) => setCode(event.currentTarget.value)}
            inputMode={typesRecovery ? 'text' : 'numeric'}
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
            {has('recovery_code') && has('totp') ? (
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
