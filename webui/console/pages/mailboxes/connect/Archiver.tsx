import { CopyBlock } from '@common/components/Copy';
import { Stack, Text } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { bySafety, Fields, usePortText, type WayProps } from './parts';

export function Archiver({ facts }: WayProps) {
  const { t } = useTranslation();
  const portText = usePortText();
  const entries = bySafety(facts.pop3);
  const best = entries[0];
  const profile = [
    'name = "journal"',
    '[source]',
    'type = "gateway"',
    `host = "${facts.host_name}"`,
    `port = ${best?.port ?? 995}`,
    `tls = "${best?.tls ?? 'implicit'}"`,
    `trust = "${facts.certificate_distrusted ? facts.certificate_fingerprint : 'system'}"`,
    `username = "${facts.user_name}"`,
    'password_file = "/etc/postern/journal.password"',
    '[assign]',
    'mode = "envelope"',
  ].join('\n');
  return (
    <Stack gap="lg">
      <Text size="sm">{t('connect.archiver.about')}</Text>
      <Fields
        fields={[
          [t('connect.host'), facts.host_name],
          ...entries.map((entry): [string, string] => [`${t('connect.port')} (${entry.listener})`, portText(entry)]),
          [t('create.userName'), facts.user_name],
          [t('overview.fingerprint'), facts.certificate_fingerprint],
        ]}
      />
      <Text size="sm">{t('connect.archiver.profile')}</Text>
      <CopyBlock text={profile} label={t('common.copy', { what: t('connect.archiver.profileName') })} />
    </Stack>
  );
}
