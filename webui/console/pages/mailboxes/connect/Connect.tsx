// What senders, archivers and mail clients have to be told, to be copied into their settings.

import { Failure } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import { Alert, SegmentedControl, Skeleton, Stack } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { connectQuery } from '../../../api/mailboxes';
import { useProblemText } from '../../../api/problem';
import type { Connect as Facts } from '../../../api/schema';
import { Archiver } from './Archiver';
import classes from './Connect.module.css';
import { Google } from './Google';
import { MailClients } from './MailClients';
import { Microsoft } from './Microsoft';
import { Postfix } from './Postfix';

const WAYS = { microsoft: Microsoft, google: Google, postfix: Postfix, archiver: Archiver, clients: MailClients };

type Way = keyof typeof WAYS;

export function Connect({ id }: { id: string }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(connectQuery(id));
  const [way, setWay] = useState<Way>('microsoft');
  if (error) return <Failure text={problemText(error)} />;
  if (!data) return <Skeleton height={300} />;
  const Shown = WAYS[way];
  return (
    <Panel title={t('connect.title')} about={t('connect.about')}>
      <Stack gap="lg">
        <Notes facts={data} />
        <div className={classes.ways}>
          <SegmentedControl
            size="sm"
            aria-label={t('connect.way')}
            value={way}
            onChange={(value) => setWay(value as Way)}
            data={(Object.keys(WAYS) as Way[]).map((value) => ({ value, label: t(`connect.${value}.name`) }))}
          />
        </div>
        <Shown facts={data} />
      </Stack>
    </Panel>
  );
}

/** What would keep senders away. */
function Notes({ facts }: { facts: Facts }) {
  const { t } = useTranslation();
  if (!facts.certificate_distrusted) return null;
  return (
    <Alert color="orange" variant="light" icon={<IconAlertTriangle size={18} />} title={t('connect.distrusted')}>
      {t('connect.distrustedText', { host: facts.host_name })}
    </Alert>
  );
}
