import { Ask, Failure } from '@common/components/Ask';
import { type Column, DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { useToasts } from '@common/components/Toasts';
import { Ago } from '@common/format/Ago';
import { Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconDevices } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { ownSessionsQuery, useEndSession, useSignOutEverywhere } from '../../api/account';
import { useProblemText } from '../../api/problem';
import type { SessionRow } from '../../api/schema';
import { browserName } from './browserName';

/** Where one is signed in, and the way out everywhere. */
export function Sessions() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(ownSessionsQuery);
  const everywhere = useSignOutEverywhere();
  const [asking, ask] = useDisclosure();
  const columns = useColumns();
  return (
    <Panel
      title={t('account.sessions')}
      about={t('account.sessionsAbout')}
      aside={
        <Button variant="default" size="xs" onClick={ask.open}>
          {t('account.everywhere')}
        </Button>
      }
      flush
    >
      <Failure text={data ? null : problemText(error)} />
      <DataTable
        caption={t('account.sessions')}
        columns={columns}
        rows={data}
        rowKey={(session) => session.id}
        empty={<Empty icon={IconDevices} title={t('account.noSessions')} />}
      />
      <Ask
        title={t('account.everywhere')}
        opened={asking}
        onClose={ask.close}
        onConfirm={() => everywhere.mutate()}
        confirm={t('account.everywhere')}
        busy={everywhere.isPending}
        problem={problemText(everywhere.error)}
      >
        {t('account.everywhereText')}
      </Ask>
    </Panel>
  );
}

function useColumns(): Column<SessionRow>[] {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const end = useEndSession();
  return [
    {
      id: 'agent',
      title: t('account.browser'),
      wide: true,
      cell: (session) => (
        <span title={session.agent}>
          {browserName(session.agent)} {session.current && <Status tone="good">{t('account.thisSession')}</Status>}
        </span>
      ),
    },
    { id: 'peer', title: t('account.address'), cell: (session) => <span className="mono nowrap">{session.peer}</span> },
    { id: 'begun', title: t('account.begun'), from: 'tablet', cell: (session) => <Ago at={session.begun_at} /> },
    { id: 'seen', title: t('account.seen'), from: 'tablet', cell: (session) => <Ago at={session.seen_at} /> },
    {
      id: 'end',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (session) =>
        session.current ? null : (
          <Button
            variant="default"
            size="compact-xs"
            onClick={() => end.mutate(session.id, { onError: (error) => toasts.failed(problemText(error) ?? '') })}
          >
            {t('account.end')}
          </Button>
        ),
    },
  ];
}
