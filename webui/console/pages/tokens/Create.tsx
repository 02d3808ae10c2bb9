import { Dialog, Form } from '@common/components/Form';
import { Checkbox, Select, Stack, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCreateToken } from '../../api/people';
import { useProblemText } from '../../api/problem';
import type { Scope, TokenWithText } from '../../api/schema';
import { useMay } from '../../api/session';

const DAYS = ['30', '90', '365', 'never'] as const;

interface CreateProps {
  opened: boolean;
  onClose: () => void;
  onMade: (made: TokenWithText) => void;
}

export function Create({ opened, onClose, onMade }: CreateProps) {
  const { t } = useTranslation();
  return (
    <Dialog opened={opened} onClose={onClose} title={t('tokens.create')}>
      <Fields
        onClose={onClose}
        onMade={(made) => {
          onClose();
          onMade(made);
        }}
      />
    </Dialog>
  );
}

function Fields({ onClose, onMade }: Omit<CreateProps, 'opened'>) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const create = useCreateToken();
  const operates = useMay('operator');
  const administrates = useMay('administrator');
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<string[]>(['read']);
  const [days, setDays] = useState<string>('90');
  const offered: Scope[] = [
    'read',
    ...(operates ? (['mailboxes'] as const) : []),
    ...(administrates ? (['settings', 'admin'] as const) : []),
  ];
  const submit = () => {
    create.mutate(
      {
        name: name.trim(),
        scopes: scopes as Scope[],
        expires_in_days: days === 'never' ? null : Number(days),
      },
      { onSuccess: onMade },
    );
  };
  return (
    <Form
      submit={t('tokens.create')}
      onSubmit={submit}
      onCancel={onClose}
      busy={create.isPending}
      disabled={scopes.length === 0}
      problem={problemText(create.error)}
    >
      <TextInput
        label={t('tokens.name')}
        description={t('tokens.nameAbout')}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        maxLength={100}
        required
        data-autofocus
      />
      <Checkbox.Group label={t('tokens.scopes')} value={scopes} onChange={setScopes}>
        <Stack gap={10} mt={6}>
          {offered.map((scope) => (
            <Checkbox key={scope} value={scope} label={t(`scope.${scope}`)} description={t(`scope.${scope}About`)} />
          ))}
        </Stack>
      </Checkbox.Group>
      <Select
        label={t('tokens.expires')}
        value={days}
        allowDeselect={false}
        onChange={(value) => value && setDays(value)}
        data={DAYS.map((value) => ({
          value,
          label: value === 'never' ? t('common.never') : t('tokens.inDays', { count: Number(value) }),
        }))}
      />
    </Form>
  );
}
