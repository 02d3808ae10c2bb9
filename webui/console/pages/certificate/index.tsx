// The certificate of all ports: what is served, and where it comes from.

import { Failure } from '@common/components/Ask';
import { Page as Frame } from '@common/components/Page';
import { Alert, Skeleton } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useOverview } from '../../api/overview';
import { useProblemText } from '../../api/problem';
import type { ConfigurationChange } from '../../api/schema';
import { settingsQuery } from '../../api/settings';
import { Warnings } from '../overview/Warnings';
import { Apply } from '../settings/Apply';
import { Restart } from '../settings/Restart';
import { Served } from './Served';
import { Source } from './Source';
import { modeOf } from './source';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const overview = useOverview('hour');
  const settings = useQuery(settingsQuery);
  const [change, setChange] = useState<ConfigurationChange | null>(null);
  const configuration = settings.data;
  const now = overview.data?.overview;
  const warnings = now?.warnings.filter((warning) => warning.code === 'certificate') ?? [];
  return (
    <Frame
      title={t('nav.certificate')}
      about={t('certificate.about')}
      actions={configuration && <Restart pending={configuration.restart_pending} />}
    >
      <Failure text={now ? null : problemText(overview.error)} />
      <Failure text={configuration ? null : problemText(settings.error)} />
      {warnings.length > 0 && <Warnings warnings={warnings} />}
      {configuration?.restart_pending && (
        <Alert color="orange" icon={<IconInfoCircle size={18} />}>
          {t('settings.restartPending')}
        </Alert>
      )}
      {now ? (
        <Served overview={now} mode={configuration ? modeOf(configuration) : null} />
      ) : (
        !overview.error && <Skeleton height={180} />
      )}
      {configuration ? (
        <Source key={configuration.revision} configuration={configuration} onChange={setChange} />
      ) : (
        !settings.error && <Skeleton height={300} />
      )}
      <Apply change={change} onClose={() => setChange(null)} />
    </Frame>
  );
}
