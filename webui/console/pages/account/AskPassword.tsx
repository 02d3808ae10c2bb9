import { Ask } from '@common/components/Ask';
import { PasswordInput, Stack } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';

interface AskPasswordProps {
  title: string;
  text: string;
  opened: boolean;
  onClose: () => void;
  onPassword: (password: string) => void;
  ask: { isPending: boolean; error: unknown };
}

/** The present password, once more, before something is changed that protects the account. */
export function AskPassword({ title, text, opened, onClose, onPassword, ask }: AskPasswordProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [password, setPassword] = useState('');
  const confirm = () => {
    onPassword(password);
    setPassword('');
  };
  return (
    <Ask
      title={title}
      opened={opened}
      onClose={onClose}
      onConfirm={confirm}
      confirm={t('signIn.continue')}
      busy={ask.isPending}
      disabled={password === ''}
      problem={problemText(ask.error)}
    >
      <Stack gap="md">
        {text}
        <PasswordInput
          label={t('account.current')}
          value={password}
          autoComplete="current-password"
          visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
          onChange={(event) => setPassword(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && password !== '') confirm();
          }}
          data-autofocus
        />
      </Stack>
    </Ask>
  );
}
