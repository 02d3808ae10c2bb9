import { Ask } from '@common/components/Ask';
import { useToasts } from '@common/components/Toasts';
import { ActionIcon, Checkbox, Menu, Stack } from '@mantine/core';
import { IconDots, IconKey, IconLogout, IconTrash, IconUserCog } from '@tabler/icons-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import {
  useChangeRole,
  useEndAdministratorSessions,
  useRemoveAdministrator,
  useResetAdministrator,
} from '../../api/people';
import { useProblemText } from '../../api/problem';
import type { Administrator, AdministratorWithPassword } from '../../api/schema';
import { RoleSelect } from './Create';

type Step = 'role' | 'reset' | 'sessions' | 'remove';

interface PersonMenuProps {
  person: Administrator;
  onReset: (made: AdministratorWithPassword) => void;
}

export function PersonMenu({ person, onReset }: PersonMenuProps) {
  const { t } = useTranslation();
  const [step, setStep] = useState<Step | null>(null);
  const close = () => setStep(null);
  const ofPerson = { person, close };
  return (
    <>
      <Menu position="bottom-end" width={240} shadow="md">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={t('people.actionsFor', { name: person.name })}>
            <IconDots size={18} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconUserCog size={16} />} onClick={() => setStep('role')}>
            {t('people.changeRole')}
          </Menu.Item>
          <Menu.Item leftSection={<IconKey size={16} />} onClick={() => setStep('reset')}>
            {t('people.reset')}
          </Menu.Item>
          <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => setStep('sessions')}>
            {t('people.endSessions')}
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item color="red" leftSection={<IconTrash size={16} />} onClick={() => setStep('remove')}>
            {t('people.remove')}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <ChangeRole {...ofPerson} opened={step === 'role'} />
      <Reset {...ofPerson} opened={step === 'reset'} onReset={onReset} />
      <EndSessions {...ofPerson} opened={step === 'sessions'} />
      <Remove {...ofPerson} opened={step === 'remove'} />
    </>
  );
}

interface StepProps {
  person: Administrator;
  opened: boolean;
  close: () => void;
}

function ChangeRole({ person, opened, close }: StepProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const change = useChangeRole(person.name);
  const [role, setRole] = useState(person.role);
  const done = () => {
    toasts.done(t('common.saved'));
    close();
  };
  return (
    <Ask
      title={t('people.changeRoleOf', { name: person.name })}
      opened={opened}
      onClose={close}
      onConfirm={() => change.mutate(role, { onSuccess: done })}
      confirm={t('common.save')}
      busy={change.isPending}
      disabled={role === person.role}
      problem={problemText(change.error)}
    >
      <Stack gap="sm">
        <RoleSelect role={role} onChange={setRole} />
        {t('people.sessionsEnd')}
      </Stack>
    </Ask>
  );
}

function Reset({ person, opened, close, onReset }: StepProps & Pick<PersonMenuProps, 'onReset'>) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const reset = useResetAdministrator(person.name);
  const [clear, setClear] = useState(false);
  const done = (made: AdministratorWithPassword) => {
    close();
    onReset(made);
  };
  return (
    <Ask
      title={t('people.resetOf', { name: person.name })}
      opened={opened}
      onClose={close}
      onConfirm={() => reset.mutate(clear, { onSuccess: done })}
      confirm={t('people.reset')}
      busy={reset.isPending}
      problem={problemText(reset.error)}
    >
      <Stack gap="sm">
        {t('people.resetText')}
        <Checkbox
          label={t('people.clearFactors')}
          checked={clear}
          onChange={(event) => setClear(event.currentTarget.checked)}
        />
      </Stack>
    </Ask>
  );
}

function EndSessions({ person, opened, close }: StepProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const end = useEndAdministratorSessions(person.name);
  const done = ({ ended }: { ended: number }) => {
    toasts.done(t('people.sessionsEnded', { count: ended }));
    close();
  };
  return (
    <Ask
      title={t('people.endSessionsOf', { name: person.name })}
      opened={opened}
      onClose={close}
      onConfirm={() => end.mutate(undefined, { onSuccess: done })}
      confirm={t('people.endSessions')}
      busy={end.isPending}
      problem={problemText(end.error)}
    >
      {t('people.endSessionsText')}
    </Ask>
  );
}

function Remove({ person, opened, close }: StepProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const remove = useRemoveAdministrator(person.name);
  const done = () => {
    toasts.done(t('people.removed', { name: person.name }));
    close();
  };
  return (
    <Ask
      title={t('people.removeOf', { name: person.name })}
      opened={opened}
      onClose={close}
      onConfirm={() => remove.mutate(undefined, { onSuccess: done })}
      confirm={t('people.remove')}
      busy={remove.isPending}
      problem={problemText(remove.error)}
      dangerous
    >
      {t('people.removeText')}
    </Ask>
  );
}
