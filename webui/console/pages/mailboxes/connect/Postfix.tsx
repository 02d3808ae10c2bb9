import { CopyBlock } from '@common/components/Copy';
import { useTranslation } from 'react-i18next';
import { Step, Steps, type WayProps } from './parts';

export function Postfix({ facts }: WayProps) {
  const { t } = useTranslation();
  const [local = '', domain = ''] = facts.address.split('@');
  const map = `/^(.*)@(example\\.com)$/    ${local}+$1=$2@${domain}`;
  const port = facts.smtp.find((entry) => entry.listener === 'smtp')?.port ?? 25;
  const level = facts.certificate_distrusted
    ? `fingerprint match=${facts.certificate_fingerprint
        .replace('sha256:', '')
        .toUpperCase()
        .replace(/(..)(?=.)/g, '$1:')}`
    : 'verify';
  const relay = [
    `# /etc/postfix/transport`,
    `${domain}    smtp:[${facts.host_name}]:${port}`,
    `# /etc/postfix/tls_policy`,
    `[${facts.host_name}]:${port}    ${level}`,
  ].join('\n');
  const main = [
    'recipient_bcc_maps = regexp:/etc/postfix/journal',
    'transport_maps = hash:/etc/postfix/transport',
    'smtp_tls_policy_maps = hash:/etc/postfix/tls_policy',
    ...(facts.certificate_distrusted ? ['smtp_tls_fingerprint_digest = sha256'] : []),
  ].join('\n');
  const copy = (what: string) => t('common.copy', { what });
  return (
    <Steps>
      <Step text={t('connect.postfix.map')}>
        <CopyBlock text={map} label={copy('/etc/postfix/journal')} />
      </Step>
      <Step text={t('connect.postfix.transport')}>
        <CopyBlock text={relay} label={copy('/etc/postfix/transport')} />
      </Step>
      <Step text={t('connect.postfix.main')}>
        <CopyBlock text={main} label={copy('main.cf')} />
      </Step>
      <Step text={t('connect.postfix.reload')}>
        <CopyBlock
          text={'postmap /etc/postfix/transport /etc/postfix/tls_policy\npostfix reload'}
          label={copy(t('common.command'))}
        />
      </Step>
      <Step text={t('connect.sendTest')} />
    </Steps>
  );
}
