// The configuration: every key with its meaning, or the file as it is.

import { Failure } from '@common/components/Ask';
import { Page as Frame } from '@common/components/Page';
import { Alert, Skeleton, Tabs } from '@mantine/core';
import { IconAlertTriangle, IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import type { Configuration, ConfigurationChange } from '../../api/schema';
import { settingsQuery } from '../../api/settings';
import { Apply } from './Apply';
import { File } from './File';
import { Keys } from './Keys';
import { LogLevel } from './LogLevel';
import { Reload } from './Reload';
import { Restart } from './Restart';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(settingsQuery);
  return (
    <Frame
      title={t('nav.settings')}
      about={data?.file ? t('settings.about', { file: data.file }) : null}
      actions={
        data && (
          <>
            {data.file && <Reload />}
            <Restart pending={data.restart_pending} />
          </>
        )
      }
    >
      <Failure text={data ? null : problemText(error)} />
      {data ? <Loaded configuration={data} /> : !error && <Skeleton height={400} />}
    </Frame>
  );
}

function Loaded({ configuration }: { configuration: Configuration }) {
  const { t } = useTranslation();
  const [change, setChange] = useState<ConfigurationChange | null>(null);
  const changeable = configuration.file !== null && configuration.file !== undefined;
  return (
    <>
      {configuration.taken_back && (
        <Alert color="red" icon={<IconAlertTriangle size={18} />} title={t('settings.takenBack')}>
          {configuration.taken_back}
        </Alert>
      )}
      {configuration.restart_pending && (
        <Alert color="orange" icon={<IconInfoCircle size={18} />}>
          {t('settings.restartPending')}
        </Alert>
      )}
      {!changeable && <Alert icon={<IconInfoCircle size={18} />}>{t('settings.noFile')}</Alert>}
      <LogLevel level={configuration.log_level ?? null} />
      <Tabs defaultValue="keys" keepMounted={false}>
        <Tabs.List mb="lg">
          <Tabs.Tab value="keys">{t('settings.keys')}</Tabs.Tab>
          <Tabs.Tab value="file">{t('settings.file')}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="keys">
          <Keys
            key={configuration.revision}
            configuration={configuration}
            changeable={changeable}
            onChange={setChange}
          />
        </Tabs.Panel>
        <Tabs.Panel value="file">
          <File
            key={configuration.revision}
            configuration={configuration}
            changeable={changeable}
            onChange={setChange}
          />
        </Tabs.Panel>
      </Tabs>
      <Apply change={change} onClose={() => setChange(null)} />
    </>
  );
}
