import { Dialog, Form } from '@common/components/Form';
import { useToasts } from '@common/components/Toasts';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useEditMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';
import { NameFields, type Naming, trimmed } from './NameFields';

interface EditProps {
  mailbox: MailboxRow;
  opened: boolean;
  onClose: () => void;
}

/** Name and description. */
export function Edit({ mailbox, opened, onClose }: EditProps) {
  const { t } = useTranslation();
  return (
    <Dialog opened={opened} onClose={onClose} title={t('mailboxes.editTitle')}>
      <Fields mailbox={mailbox} onClose={onClose} />
    </Dialog>
  );
}

function Fields({ mailbox, onClose }: { mailbox: MailboxRow; onClose: () => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const edit = useEditMailbox(mailbox.id);
  const [naming, setNaming] = useState<Naming>({ name: mailbox.name, description: mailbox.description });
  const submit = () => {
    const done = () => {
      toasts.done(t('common.saved'));
      onClose();
    };
    edit.mutate(trimmed(naming), { onSuccess: done });
  };
  return (
    <Form
      submit={t('common.save')}
      onSubmit={submit}
      onCancel={onClose}
      busy={edit.isPending}
      problem={problemText(edit.error)}
    >
      <NameFields naming={naming} onChange={setNaming} />
    </Form>
  );
}
