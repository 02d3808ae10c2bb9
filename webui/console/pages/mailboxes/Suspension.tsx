import { Ask } from '@common/components/Ask';
import { useToasts } from '@common/components/Toasts';
import { useTranslation } from 'react-i18next';
import { useEditMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';

interface SuspensionProps {
  mailbox: MailboxRow;
  opened: boolean;
  onClose: () => void;
}

/** Suspends an active mailbox, and the other way round. */
export function Suspension({ mailbox, opened, onClose }: SuspensionProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const edit = useEditMailbox(mailbox.id);
  const active = mailbox.status === 'active';
  const confirm = () =>
    edit.mutate(
      { status: active ? 'suspended' : 'active' },
      {
        onSuccess: () => {
          toasts.done(t(active ? 'mailboxes.suspended' : 'mailboxes.activated', { name: mailbox.name }));
          onClose();
        },
      },
    );
  return (
    <Ask
      title={t(active ? 'mailboxes.suspendTitle' : 'mailboxes.activateTitle', { name: mailbox.name })}
      confirm={active ? t('mailboxes.suspend') : t('mailboxes.activate')}
      opened={opened}
      onClose={onClose}
      onConfirm={confirm}
      busy={edit.isPending}
      problem={problemText(edit.error)}
    >
      {active ? t('mailboxes.suspendText') : t('mailboxes.activateText')}
    </Ask>
  );
}
