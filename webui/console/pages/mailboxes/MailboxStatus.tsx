import { Status } from '@common/components/Status';
import { useTranslation } from 'react-i18next';

export function MailboxStatus({ status }: { status: 'active' | 'suspended' }) {
  const { t } = useTranslation();
  return <Status tone={status === 'active' ? 'good' : 'warn'}>{t(`status.${status}`)}</Status>;
}
