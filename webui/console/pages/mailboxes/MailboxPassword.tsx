import { SecretDialog } from '@common/components/SecretDialog';
import { useTranslation } from 'react-i18next';
import type { MailboxWithPassword } from '../../api/schema';

interface MailboxPasswordProps {
  made: MailboxWithPassword | null;
  title: string;
  onDone: () => void;
}

/** Whoever loses this password has lost the mail that waits: that must have been read. */
export function MailboxPassword({ made, title, onDone }: MailboxPasswordProps) {
  const { t } = useTranslation();
  return (
    <SecretDialog
      title={title}
      facts={made ? [{ label: t('mailboxes.address'), text: made.mailbox.address }] : []}
      secrets={
        made
          ? [
              { label: t('create.userName'), text: made.mailbox.id },
              { label: t('create.password'), text: made.password },
            ]
          : null
      }
      warning={t('create.warning')}
      agreement={t('create.understood')}
      onDone={onDone}
    />
  );
}
