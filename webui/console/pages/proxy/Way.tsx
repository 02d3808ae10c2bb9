// Goes the way of a mail client to its server, and shows each step as it is done.

import { Failure } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import {
  Button,
  Group,
  Input,
  Loader,
  NumberInput,
  PasswordInput,
  SegmentedControl,
  SimpleGrid,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import type { Protocol, WayStep, WayToTry } from '../../api/schema';
import { useSteps } from '../../api/steps';
import { Findings } from '../doctor/Findings';

export function Way() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [user, setUser] = useState('');
  const [protocol, setProtocol] = useState<Protocol>('pop3');
  const [port, setPort] = useState<string | number>('');
  const [password, setPassword] = useState('');
  const going = useSteps<WayStep>('/api/v1/proxy/test', { onEnd: () => setPassword('') });
  const last = going.steps.at(-1);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const way: WayToTry = {
      user: user.trim(),
      protocol,
      port: typeof port === 'number' ? port : null,
      password: password === '' ? null : password,
    };
    going.begin(way);
  };
  return (
    <Stack gap={20}>
      <Panel>
        <form onSubmit={submit}>
          <Stack gap="md" maw={760}>
            <TextInput
              label={t('way.user')}
              description={t('way.userAbout')}
              placeholder="anna@example.com%pop.example.com%mbx-0123456789abcdef"
              value={user}
              onChange={(event) => setUser(event.currentTarget.value)}
              classNames={{ input: 'mono' }}
              maxLength={1000}
              autoCapitalize="none"
              autoComplete="off"
              spellCheck={false}
              required
            />
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              <div>
                <Input.Label labelElement="div" id="way-protocol" display="block">
                  {t('way.does')}
                </Input.Label>
                <SegmentedControl
                  fullWidth
                  aria-labelledby="way-protocol"
                  value={protocol}
                  onChange={(value) => setProtocol(value as Protocol)}
                  data={[
                    { value: 'pop3', label: t('way.fetches') },
                    { value: 'smtp', label: t('way.sends') },
                  ]}
                />
              </div>
              <NumberInput
                label={t('way.port')}
                placeholder={t('way.portUsual')}
                value={port}
                onChange={setPort}
                min={1}
                max={65535}
                allowDecimal={false}
                allowNegative={false}
                clampBehavior="strict"
                hideControls
              />
            </SimpleGrid>
            <PasswordInput
              label={t('way.password')}
              description={t('way.passwordAbout')}
              value={password}
              onChange={(event) => setPassword(event.currentTarget.value)}
              autoComplete="off"
            />
            <Group>
              <Button type="submit" loading={going.running} disabled={user.trim() === ''}>
                {t('way.begin')}
              </Button>
            </Group>
          </Stack>
        </form>
      </Panel>
      <Failure text={problemText(going.problem)} />
      {(going.running || last) && (
        <Panel title={t('way.steps')} flush>
          <Findings findings={going.steps} label={t('way.steps')} />
          <Text
            size="sm"
            fw={560}
            px={18}
            py={12}
            role="status"
            c={last?.verdict === 'fail' ? 'var(--bad)' : 'var(--mantine-color-text)'}
          >
            {going.running && (
              <>
                <Loader size="xs" mr="xs" aria-hidden /> {t('way.running')}
              </>
            )}
            {!going.running && t(last?.verdict === 'fail' ? 'way.failed' : 'way.arrived')}
          </Text>
        </Panel>
      )}
    </Stack>
  );
}
