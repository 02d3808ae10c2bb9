import { Alert, Button, Group, Modal, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';

interface AskProps {
  title: string;
  opened: boolean;
  onClose: () => void;
  onConfirm: () => void;
  confirm: string;
  dangerous?: boolean;
  busy?: boolean;
  disabled?: boolean;
  /** Why it did not work. */
  problem?: string | null | undefined;
  children: ReactNode;
}

/** Asks before something is done that is not easily undone. */
export function Ask(props: AskProps) {
  const { t } = useTranslation();
  return (
    <Modal
      opened={props.opened}
      onClose={props.onClose}
      title={props.title}
      closeButtonProps={closeLabel(t('common.close'))}
    >
      <Stack gap="md">
        <Text size="sm" component="div">
          {props.children}
        </Text>
        <Failure text={props.problem} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={props.onClose}>
            {t('common.cancel')}
          </Button>
          <Button
            color={props.dangerous ? 'red' : 'indigo'}
            loading={props.busy ?? false}
            disabled={props.disabled ?? false}
            onClick={props.onConfirm}
          >
            {props.confirm}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

export const closeLabel = (label: string) => ({ 'aria-label': label });

/** Why something did not work. */
export function Failure({ text }: { text: string | null | undefined }) {
  if (!text) return null;
  return (
    <Alert color="red" variant="light" role="alert" icon={<IconAlertTriangle size={18} />}>
      {text}
    </Alert>
  );
}
