import { CopyBlock, CopyField } from '@common/components/Copy';
import { useTranslation } from 'react-i18next';
import { Step, Steps, type WayProps } from './parts';

export function Microsoft({ facts }: WayProps) {
  const { t } = useTranslation();
  const commands = [
    'Connect-ExchangeOnline',
    `New-OutboundConnector -Name "Postern" -RecipientDomains ${facts.email_domain} -SmartHosts ${facts.host_name} \``,
    `  -UseMXRecord $false -TlsSettings ${facts.certificate_distrusted ? 'EncryptionOnly' : `DomainValidation -TlsDomain ${facts.host_name}`} -ConnectorType Partner`,
    `New-JournalRule -Name "Postern" -JournalEmailAddress ${facts.address} -Scope Global -Enabled $true`,
  ].join('\n');
  return (
    <Steps>
      <Step text={t('connect.microsoft.undeliverable')} />
      <Step text={t('connect.microsoft.connector', { host: facts.host_name })}>
        <CopyField text={facts.host_name} label={t('common.copy', { what: t('connect.host') })} />
      </Step>
      <Step text={t('connect.microsoft.rule')}>
        <CopyField text={facts.address} label={t('common.copy', { what: t('mailboxes.address') })} />
      </Step>
      <Step text={t('connect.microsoft.powershell')}>
        <CopyBlock text={commands} label={t('common.copy', { what: t('common.command') })} />
      </Step>
      <Step text={t('connect.sendTest')} />
    </Steps>
  );
}
