// A password that is shown once: a warning, and no way past it but by saying that it was read.
import { Alert, Button, Checkbox, Group, Modal, Stack, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { CopyField } from './Copy';

export interface Secret {
  label: string;
  text: string;
}

interface SecretDialogProps {
  title: string;
  warning: ReactNode;
  /** What must be ticked. */
  agreement: string;
  /** What it belongs to, shown above it: addresses, names. */
  facts?: Secret[];
  secrets: Secret[] | null;
  onDone: () => void;
}

export function SecretDialog(props: SecretDialogProps) {
  return (
    <Modal
      opened={props.secrets !== null}
      onClose={() => undefined}
      title={props.title}
      size="lg"
      closeOnClickOutside={false}
      closeOnEscape={false}
      withCloseButton={false}
    >
      {props.secrets && <Content {...props} secrets={props.secrets} />}
    </Modal>
  );
}

function Content({ warning, agreement, facts = [], secrets, onDone }: SecretDialogProps & { secrets: Secret[] }) {
  const { t } = useTranslation();
  const [agreed, setAgreed] = useState(false);
  return (
    <Stack gap="md">
      {facts.map((fact) => (
        <Labelled key={fact.label} {...fact} />
      ))}
      {secrets.map((secret) => (
        <Labelled key={secret.label} {...secret} secret />
      ))}
      <Alert color="orange" variant="light" icon={<IconAlertTriangle size={20} />} title={t('secret.warning')}>
        <Text size="sm" component="div">
          {warning}
        </Text>
      </Alert>
      <Checkbox label={agreement} checked={agreed} onChange={(event) => setAgreed(event.currentTarget.checked)} />
      <Group justify="flex-end">
        <Button disabled={!agreed} onClick={onDone}>
          {t('common.ok')}
        </Button>
      </Group>
    </Stack>
  );
}

function Labelled({ label, text, secret }: Secret & { secret?: boolean }) {
  const { t } = useTranslation();
  return (
    <div>
      <Text size="xs" c="dimmed" fw={560} mb={4}>
        {label}
      </Text>
      <CopyField text={text} label={t('common.copy', { what: label })} secret={secret ?? false} />
    </div>
  );
}
