import { closeLabel, Failure } from '@common/components/Ask';
import { useToasts } from '@common/components/Toasts';
import { Button, Group, Modal, Stack, Textarea, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useEditMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';

interface EditProps {
  mailbox: MailboxRow;
  opened: boolean;
  onClose: () => void;
}

/** Name and description. */
export function Edit({ mailbox, opened, onClose }: EditProps) {
  const { t } = useTranslation();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('mailboxes.editTitle')}
      closeButtonProps={closeLabel(t('common.close'))}
    >
      <Form mailbox={mailbox} onClose={onClose} />
    </Modal>
  );
}

function Form({ mailbox, onClose }: { mailbox: MailboxRow; onClose: () => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const edit = useEditMailbox(mailbox.id);
  const [name, setName] = useState(mailbox.name);
  const [description, setDescription] = useState(mailbox.description);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const done = () => {
      toasts.done(t('common.saved'));
      onClose();
    };
    edit.mutate({ name: name.trim(), description: description.trim() }, { onSuccess: done });
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <TextInput
          label={t('mailboxes.name')}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          maxLength={100}
          required
          data-autofocus
        />
        <Textarea
          label={t('mailboxes.description')}
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          maxLength={1000}
          autosize
          minRows={3}
        />
        <Failure text={problemText(edit.error)} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={edit.isPending}>
            {t('common.save')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
