// A change is looked at before it is made: whether the gateway could load it, what changes, what needs a restart.

import { closeLabel, Failure } from '@common/components/Ask';
import { Status } from '@common/components/Status';
import { useToasts } from '@common/components/Toasts';
import { Alert, Button, Group, Loader, Modal, Stack, Table, Text } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useEffect } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import type { ConfigurationChange } from '../../api/schema';
import { useApply, useValidate } from '../../api/settings';

interface ApplyProps {
  change: ConfigurationChange | null;
  onClose: () => void;
}

export function Apply({ change, onClose }: ApplyProps) {
  const { t } = useTranslation();
  return (
    <Modal
      opened={change !== null}
      onClose={onClose}
      title={t('settings.applyTitle')}
      size="lg"
      closeButtonProps={closeLabel(t('common.close'))}
    >
      {change && <Looked change={change} onClose={onClose} />}
    </Modal>
  );
}

function Looked({ change, onClose }: { change: ConfigurationChange; onClose: () => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const { mutate: validate, ...validated } = useValidate();
  const apply = useApply();
  useEffect(() => validate(change), [validate, change]);
  const found = validated.data;
  const applied = () => {
    toasts.done(found?.needs_restart ? t('settings.appliedRestart') : t('settings.applied'));
    onClose();
  };
  return (
    <Stack gap="md">
      {validated.isPending && (
        <Group gap="sm">
          <Loader size="sm" /> <Text size="sm">{t('settings.checking')}</Text>
        </Group>
      )}
      <Failure text={problemText(validated.error)} />
      {found && found.changed.length === 0 && <Text size="sm">{t('settings.nothingChanges')}</Text>}
      {found && found.changed.length > 0 && (
        <Table>
          <caption className="unseen">{t('settings.applyTitle')}</caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('settings.key')}</Table.Th>
              <Table.Th scope="col">{t('settings.effect')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {found.changed.map((key) => (
              <Table.Tr key={key.key}>
                <Table.Td className="mono">{key.key}</Table.Td>
                <Table.Td>
                  <Status tone={key.needs_restart ? 'warn' : 'good'} plain>
                    {key.needs_restart ? t('settings.afterRestart') : t('settings.atOnce')}
                  </Status>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      )}
      {found?.needs_restart && (
        <Alert variant="light" icon={<IconInfoCircle size={18} />}>
          {t('settings.restartNote')}
        </Alert>
      )}
      <Failure text={problemText(apply.error)} />
      <Group justify="flex-end" gap="sm">
        <Button variant="default" onClick={onClose}>
          {t('common.cancel')}
        </Button>
        <Button
          disabled={!found || found.changed.length === 0}
          loading={apply.isPending}
          onClick={() => apply.mutate(change, { onSuccess: applied })}
        >
          {t('settings.apply')}
        </Button>
      </Group>
    </Stack>
  );
}
