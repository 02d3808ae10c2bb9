import { Dialog, Form } from '@common/components/Form';
import { Select, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCreateAdministrator } from '../../api/people';
import { useProblemText } from '../../api/problem';
import type { AdministratorWithPassword, Role } from '../../api/schema';

interface CreateProps {
  opened: boolean;
  onClose: () => void;
  onMade: (made: AdministratorWithPassword) => void;
}

export function Create({ opened, onClose, onMade }: CreateProps) {
  const { t } = useTranslation();
  return (
    <Dialog opened={opened} onClose={onClose} title={t('people.create')}>
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
  const create = useCreateAdministrator();
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('operator');
  const submit = () => {
    create.mutate({ name: name.trim(), role }, { onSuccess: onMade });
  };
  return (
    <Form
      submit={t('people.create')}
      onSubmit={submit}
      onCancel={onClose}
      busy={create.isPending}
      problem={problemText(create.error)}
    >
      <TextInput
        label={t('signIn.name')}
        description={t('people.nameAbout')}
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        maxLength={64}
        autoCapitalize="none"
        autoComplete="off"
        spellCheck={false}
        required
        data-autofocus
      />
      <RoleSelect role={role} onChange={setRole} />
    </Form>
  );
}

export function RoleSelect({ role, onChange }: { role: Role; onChange: (role: Role) => void }) {
  const { t } = useTranslation();
  return (
    <Select
      label={t('people.role')}
      description={t(`role.${role}About`)}
      value={role}
      allowDeselect={false}
      onChange={(value) => value && onChange(value as Role)}
      data={(['administrator', 'operator', 'viewer'] as const).map((value) => ({ value, label: t(`role.${value}`) }))}
    />
  );
}
