import { Alert, SimpleGrid, Stack, Text, TextInput } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { bySafety, Fields, usePortText, type WayProps } from './parts';

/** Settings of a mail client, for whoever's account is typed in. */
export function MailClients({ facts }: WayProps) {
  const { t } = useTranslation();
  const portText = usePortText();
  const [user, setUser] = useState('anna@example.com');
  const [pop3, setPop3] = useState('pop.example.com');
  const [smtp, setSmtp] = useState('smtp.example.com');
  const pattern = facts.proxy_user_name;
  if (!pattern) {
    return (
      <Alert variant="light" icon={<IconInfoCircle size={18} />}>
        {t('connect.clients.off')}
      </Alert>
    );
  }
  const name = (server: string) =>
    pattern.replace('remote_user', () => user.trim()).replace('target_server', () => server.trim());
  const ports = (entries: WayProps['facts']['smtp']) => bySafety(entries.filter((entry) => entry.listener !== 'smtp'));
  const field = (label: string, value: string, set: (value: string) => void) => (
    <TextInput
      label={label}
      value={value}
      spellCheck={false}
      autoComplete="off"
      onChange={(event) => set(event.currentTarget.value)}
    />
  );
  const server = (title: string, entries: WayProps['facts']['smtp'], remote: string) => (
    <div>
      <Text size="sm" fw={600} mb={8}>
        {title}
      </Text>
      <Fields
        fields={[
          [t('connect.host'), facts.host_name],
          ...entries.map((entry): [string, string] => [`${t('connect.port')} (${entry.listener})`, portText(entry)]),
          [t('create.userName'), name(remote)],
        ]}
      />
    </div>
  );
  return (
    <Stack gap="lg">
      <Text size="sm" maw={820}>
        {t('connect.clients.about')}
      </Text>
      <SimpleGrid cols={{ base: 1, sm: 3 }} maw={820}>
        {field(t('connect.clients.user'), user, setUser)}
        {field(t('connect.clients.pop3'), pop3, setPop3)}
        {field(t('connect.clients.smtp'), smtp, setSmtp)}
      </SimpleGrid>
      {server(t('connect.clients.incoming'), ports(facts.pop3), pop3)}
      {server(t('connect.clients.outgoing'), ports(facts.smtp), smtp)}
      <Text size="sm" c="dimmed" maw={820}>
        {t('connect.clients.password')}
      </Text>
    </Stack>
  );
}
