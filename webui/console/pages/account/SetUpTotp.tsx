// Sets up one-time passwords: the password once more, the secret for the device, a code that shows that it has it.

import { closeLabel, Failure } from '@common/components/Ask';
import { CopyField } from '@common/components/Copy';
import { QrCode } from '@common/components/QrCode';
import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useBeginTotp, useConfirmTotp } from '../../api/account';
import { useProblemText } from '../../api/problem';
import type { TotpSecret } from '../../api/schema';
import { AskPassword } from './AskPassword';

interface SetUpTotpProps {
  opened: boolean;
  onClose: () => void;
  onCodes: (codes: string[]) => void;
}

export function SetUpTotp({ opened, onClose, onCodes }: SetUpTotpProps) {
  const { t } = useTranslation();
  const begin = useBeginTotp();
  const close = () => {
    begin.reset();
    onClose();
  };
  return (
    <>
      <AskPassword
        title={t('totp.setUp')}
        text={t('totp.passwordFirst')}
        opened={opened && !begin.data}
        onClose={close}
        ask={begin}
        onPassword={(password) => begin.mutate(password)}
      />
      <Modal
        opened={opened && begin.data !== undefined}
        onClose={close}
        title={t('totp.setUp')}
        closeButtonProps={closeLabel(t('common.close'))}
      >
        {begin.data && (
          <Confirm
            secret={begin.data}
            onClose={close}
            onCodes={(codes) => {
              begin.reset();
              onCodes(codes);
            }}
          />
        )}
      </Modal>
    </>
  );
}

interface ConfirmProps {
  secret: TotpSecret;
  onClose: () => void;
  onCodes: (codes: string[]) => void;
}

function Confirm({ secret, onClose, onCodes }: ConfirmProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const confirm = useConfirmTotp();
  const [code, setCode] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    confirm.mutate(code.replaceAll(/\s/g, ''), { onSuccess: ({ codes }) => onCodes(codes) });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <Text size="sm">{t('totp.scan')}</Text>
        <QrCode text={secret.uri} label={t('totp.qr')} />
        <Text size="sm" c="dimmed">
          {t('totp.orType')}
        </Text>
        <CopyField text={secret.secret} label={t('common.copy', { what: t('totp.secret') })} />
        <TextInput
          label={t('signIn.totpCode')}
          value={code}
          onChange={(event) => setCode(event.currentTarget.value)}
          inputMode="numeric"
          autoComplete="one-time-code"
          classNames={{ input: 'mono' }}
          required
          data-autofocus
        />
        <Failure text={problemText(confirm.error)} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" disabled={code.trim() === ''} loading={confirm.isPending}>
            {t('totp.confirm')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
