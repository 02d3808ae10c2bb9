import { Ask } from '@common/components/Ask';
import { SecretDialog } from '@common/components/SecretDialog';
import { useToasts } from '@common/components/Toasts';
import { Ago } from '@common/format/Ago';
import { passkeysAreSupported } from '@common/passkey';
import { Button, Group, PasswordInput, Stack, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { passkeysQuery, useAddPasskey, useRemovePasskey, useRenamePasskey } from '../../api/passkeys';
import { useProblemText } from '../../api/problem';
import type { PasskeyRow } from '../../api/schema';
import classes from './Account.module.css';
import { AskPassword } from './AskPassword';

/** Passkeys and security keys: several, each with a name. */
export function Passkeys() {
  const { t } = useTranslation();
  const { data } = useQuery(passkeysQuery);
  const [adding, add] = useDisclosure();
  const [codes, setCodes] = useState<string[] | null>(null);
  const can = passkeysAreSupported();
  return (
    <div className={classes.factors}>
      <div className={classes.factor}>
        <div>
          <b>{t('passkey.title')}</b>
          <p>{can ? t('passkey.about') : t('passkey.unsupported')}</p>
        </div>
        <Button variant="default" disabled={!can} onClick={add.open}>
          {t('passkey.add')}
        </Button>
      </div>
      {data && data.length > 0 && (
        <ul className={classes.keys}>
          {data.map((key) => (
            <One key={key.id} passkey={key} />
          ))}
        </ul>
      )}
      <Add
        opened={adding}
        onClose={add.close}
        onAdded={(made) => {
          add.close();
          if (made.length > 0) setCodes(made);
        }}
      />
      <SecretDialog
        title={t('totp.codesTitle')}
        secrets={codes ? [{ label: t('totp.codes'), text: codes.join(' ') }] : null}
        warning={t('totp.codesWarning')}
        agreement={t('totp.codesStored')}
        onDone={() => setCodes(null)}
      />
    </div>
  );
}

function One({ passkey }: { passkey: PasskeyRow }) {
  const { t } = useTranslation();
  const toasts = useToasts();
  const remove = useRemovePasskey(passkey.id);
  const [asking, ask] = useDisclosure();
  const [naming, name] = useDisclosure();
  const done = () => toasts.done(t('passkey.removed', { name: passkey.name }));
  return (
    <li className={classes.key}>
      <div>
        <b>{passkey.name}</b>
        <p>
          {t('passkey.used')} <Ago at={passkey.used_at} none={t('common.never')} />
        </p>
      </div>
      <Group gap="xs" wrap="nowrap">
        <Button
          variant="default"
          size="compact-xs"
          aria-label={t('passkey.renameOf', { name: passkey.name })}
          onClick={name.open}
        >
          {t('passkey.rename')}
        </Button>
        <Button
          variant="default"
          size="compact-xs"
          aria-label={t('passkey.removeOf', { name: passkey.name })}
          onClick={ask.open}
        >
          {t('people.remove')}
        </Button>
      </Group>
      <Rename key={passkey.name} passkey={passkey} opened={naming} onClose={name.close} />
      <AskPassword
        title={t('passkey.removeOf', { name: passkey.name })}
        text={t('passkey.removeText')}
        opened={asking}
        onClose={ask.close}
        ask={remove}
        onPassword={(password) => remove.mutate(password, { onSuccess: done })}
      />
    </li>
  );
}

interface RenameProps {
  passkey: PasskeyRow;
  opened: boolean;
  onClose: () => void;
}

function Rename({ passkey, opened, onClose }: RenameProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const rename = useRenamePasskey(passkey.id);
  const [name, setName] = useState(passkey.name);
  const wanted = name.trim();
  const confirm = () =>
    rename.mutate(wanted, {
      onSuccess: () => {
        toasts.done(t('common.saved'));
        onClose();
      },
    });
  return (
    <Ask
      title={t('passkey.renameOf', { name: passkey.name })}
      opened={opened}
      onClose={onClose}
      onConfirm={confirm}
      confirm={t('common.save')}
      busy={rename.isPending}
      disabled={wanted === '' || wanted === passkey.name}
      problem={problemText(rename.error)}
    >
      <TextInput
        label={t('passkey.name')}
        description={t('passkey.nameAbout')}
        value={name}
        maxLength={64}
        onChange={(event) => setName(event.currentTarget.value)}
        data-autofocus
      />
    </Ask>
  );
}

interface AddProps {
  opened: boolean;
  onClose: () => void;
  onAdded: (codes: string[]) => void;
}

function Add({ opened, onClose, onAdded }: AddProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const add = useAddPasskey();
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const confirm = () => {
    setPassword('');
    add.mutate(
      { name: name.trim(), password },
      {
        onSuccess: ({ codes }) => {
          setName('');
          onAdded(codes);
        },
      },
    );
  };
  return (
    <Ask
      title={t('passkey.add')}
      opened={opened}
      onClose={onClose}
      onConfirm={confirm}
      confirm={t('signIn.continue')}
      busy={add.isPending}
      disabled={name.trim() === '' || password === ''}
      problem={problemText(add.error)}
    >
      <Stack gap="md">
        {t('passkey.addText')}
        <TextInput
          label={t('passkey.name')}
          description={t('passkey.nameAbout')}
          value={name}
          maxLength={64}
          onChange={(event) => setName(event.currentTarget.value)}
          data-autofocus
        />
        <PasswordInput
          label={t('account.current')}
          value={password}
          autoComplete="current-password"
          visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
          onChange={(event) => setPassword(event.currentTarget.value)}
        />
      </Stack>
    </Ask>
  );
}
