// Dialogs with a form. What was typed in is forgotten when one closes.
import { Button, Group, Modal, Stack } from '@mantine/core';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { closeLabel, Failure } from './Ask';

interface DialogProps {
  title: string;
  opened: boolean;
  onClose: () => void;
  size?: 'md' | 'lg';
  children: ReactNode;
}

export function Dialog({ title, opened, onClose, size = 'md', children }: DialogProps) {
  const { t } = useTranslation();
  return (
    <Modal opened={opened} onClose={onClose} title={title} size={size} closeButtonProps={closeLabel(t('common.close'))}>
      {children}
    </Modal>
  );
}

interface FormProps {
  submit: string;
  onSubmit: () => void;
  onCancel: () => void;
  busy: boolean;
  disabled?: boolean;
  /** Why it did not work. */
  problem: string | null;
  children: ReactNode;
}

export function Form({ submit, onSubmit, onCancel, busy, disabled = false, problem, children }: FormProps) {
  const { t } = useTranslation();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      <Stack gap="md">
        {children}
        <Failure text={problem} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onCancel}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" disabled={disabled} loading={busy}>
            {submit}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
