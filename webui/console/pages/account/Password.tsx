import { Failure } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import { useToasts } from '@common/components/Toasts';
import { Button, PasswordInput, Stack } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useChangePassword } from '../../api/account';
import { useProblemText } from '../../api/problem';
import type { SessionInfo } from '../../api/schema';

const LEAST = 12;
const NONE = { current: '', wanted: '', again: '' };

export function Password({ session }: { session: SessionInfo }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const change = useChangePassword();
  const [typed, setTyped] = useState(NONE);
  const short = typed.wanted.length > 0 && [...typed.wanted].length < LEAST;
  const different = typed.again.length > 0 && typed.again !== typed.wanted;
  const ready = typed.current !== '' && typed.wanted !== '' && !short && typed.again === typed.wanted;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!ready) return;
    const done = () => {
      setTyped(NONE);
      toasts.done(t('account.passwordChanged'));
    };
    change.mutate({ current: typed.current, new: typed.wanted }, { onSuccess: done });
  };
  const field = (name: keyof typeof NONE, autoComplete: string, error: string | false) => (
    <PasswordInput
      label={t(`account.${name}`)}
      value={typed[name]}
      error={error}
      autoComplete={autoComplete}
      visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
      onChange={(event) => {
        const value = event.currentTarget.value;
        setTyped((before) => ({ ...before, [name]: value }));
      }}
    />
  );
  return (
    <Panel title={t('account.password')} about={t('account.passwordAbout')}>
      <form onSubmit={submit}>
        <input type="text" name="username" autoComplete="username" value={session.name} readOnly hidden />
        <Stack gap="md" maw={400}>
          {field('current', 'current-password', false)}
          {field('wanted', 'new-password', short && t('account.tooShort', { count: LEAST }))}
          {field('again', 'new-password', different && t('account.different'))}
          <Failure text={problemText(change.error)} />
          <div>
            <Button type="submit" disabled={!ready} loading={change.isPending}>
              {t('account.change')}
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
