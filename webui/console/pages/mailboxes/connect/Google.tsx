import { CopyField } from '@common/components/Copy';
import { useTranslation } from 'react-i18next';
import { Step, Steps, type WayProps } from './parts';

export function Google({ facts }: WayProps) {
  const { t } = useTranslation();
  return (
    <Steps>
      <Step text={t('connect.google.open')} />
      <Step text={t('connect.google.address')}>
        <CopyField text={facts.address} label={t('common.copy', { what: t('mailboxes.address') })} />
      </Step>
      <Step text={t('connect.google.options')} />
      <Step text={t('connect.google.mx', { domain: facts.email_domain })}>
        <CopyField
          text={`${facts.email_domain}. IN MX 10 ${facts.host_name}.`}
          label={t('common.copy', { what: 'MX' })}
        />
      </Step>
      <Step text={t('connect.sendTest')} />
    </Steps>
  );
}
