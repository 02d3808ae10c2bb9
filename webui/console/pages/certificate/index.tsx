// The certificate of all ports: what is served, and where it comes from.

import { Failure } from '@common/components/Ask';
import { Page as Frame } from '@common/components/Page';
import { Alert, Skeleton } from '@mantine/core';
import { IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { certificateQuery } from '../../api/certificate';
import { useProblemText } from '../../api/problem';
import type { ConfigurationChange, ServedCertificate } from '../../api/schema';
import { settingsQuery } from '../../api/settings';
import { Apply } from '../settings/Apply';
import { Restart } from '../settings/Restart';
import { Ports } from './Ports';
import { Replace } from './Replace';
import { Served } from './Served';
import { Source } from './Source';

type Changes = Record<string, unknown>;

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const certificate = useQuery(certificateQuery);
  const settings = useQuery(settingsQuery);
  const [wanted, setChange] = useState<ConfigurationChange | null>(null);
  const configuration = settings.data;
  const change = (changes: Changes) =>
    setChange({ changes: changes as Record<string, never>, revision: configuration?.revision ?? null });
  return (
    <Frame
      title={t('nav.certificate')}
      about={t('certificate.about')}
      actions={configuration && <Restart pending={configuration.restart_pending} />}
    >
      <Failure text={certificate.data ? null : problemText(certificate.error)} />
      <Failure text={configuration ? null : problemText(settings.error)} />
      {configuration?.restart_pending && (
        <Alert color="orange" icon={<IconInfoCircle size={18} />}>
          {t('settings.restartPending')}
        </Alert>
      )}
      {certificate.data ? (
        <Loaded certificate={certificate.data} onChanges={change} />
      ) : (
        !certificate.error && <Skeleton height={180} />
      )}
      {configuration ? (
        <Source key={configuration.revision} configuration={configuration} onChange={setChange} />
      ) : (
        !settings.error && <Skeleton height={300} />
      )}
      <Apply change={wanted} onClose={() => setChange(null)} />
    </Frame>
  );
}

function Loaded({ certificate, onChanges }: { certificate: ServedCertificate; onChanges: (changes: Changes) => void }) {
  return (
    <>
      <Served certificate={certificate} />
      <Ports />
      <Replace authority={certificate.authority} onChanges={onChanges} />
    </>
  );
}
