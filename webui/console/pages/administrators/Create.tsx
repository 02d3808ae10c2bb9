import { closeLabel, Failure } from '@common/components/Ask';
import { Button, Group, Modal, Select, Stack, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
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
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('people.create')}
      closeButtonProps={closeLabel(t('common.close'))}
    >
      <Form
        onClose={onClose}
        onMade={(made) => {
          onClose();
          onMade(made);
        }}
      />
    </Modal>
  );
}

function Form({ onClose, onMade }: Omit<CreateProps, 'opened'>) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const create = useCreateAdministrator();
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>('operator');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    create.mutate({ name: name.trim(), role }, { onSuccess: onMade });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
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
        <Failure text={problemText(create.error)} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={create.isPending}>
            {t('people.create')}
          </Button>
        </Group>
      </Stack>
    </form>
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
