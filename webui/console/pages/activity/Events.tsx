import type { Column } from '@common/components/DataTable';
import { Status, type Tone } from '@common/components/Status';
import { At } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { Select } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconActivity } from '@tabler/icons-react';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { activityQuery } from '../../api/activity';
import { mailboxesQuery } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { Event, Kind } from '../../api/schema';
import { Log } from './Log';
import { useResultText } from './resultText';

const KINDS: Kind[] = ['session', 'capture', 'pull', 'delete', 'refusal', 'more'];
const TONES: Record<Kind, Tone> = {
  session: 'calm',
  capture: 'good',
  pull: 'info',
  delete: 'calm',
  refusal: 'bad',
  more: 'warn',
};
const HOUR_MS = 3_600_000;
const SPANS = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 168 * HOUR_MS };

/** Sessions, captures, pulls and refusals: what is visible outside the seal. */
export function Events() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [search, setSearch] = useSearchParams();
  const mailbox = search.get('mailbox');
  const mailboxes = useQuery({ ...mailboxesQuery, refetchInterval: false }).data;
  const [text, setText] = useState('');
  const [wanted] = useDebouncedValue(text.trim(), 250);
  const [kind, setKind] = useState<Kind | null>(null);
  const [span, setSpan] = useState<keyof typeof SPANS | null>(null);
  const query = useInfiniteQuery(activityQuery({ text: wanted, kind, mailbox, within: span ? SPANS[span] : null }));
  const columns = useColumns(new Map(mailboxes?.map((one) => [one.id, one.name])));
  const tools = (
    <>
      <Select
        w={160}
        aria-label={t('activity.kind')}
        placeholder={t('activity.allKinds')}
        clearable
        value={kind}
        onChange={(value) => setKind(value as Kind | null)}
        data={KINDS.map((value) => ({ value, label: t(`kind.${value}`) }))}
      />
      <Select
        w={190}
        aria-label={t('activity.mailbox')}
        placeholder={t('activity.allMailboxes')}
        clearable
        searchable
        limit={50}
        value={mailbox}
        onChange={(value) => setSearch(value ? { mailbox: value } : {}, { replace: true })}
        data={(mailboxes ?? []).map((one) => ({ value: one.id, label: one.name }))}
      />
      <Select
        w={150}
        aria-label={t('activity.time')}
        placeholder={t('activity.allTimes')}
        clearable
        value={span}
        onChange={(value) => setSpan(value as keyof typeof SPANS | null)}
        data={(['hour', 'day', 'week'] as const).map((value) => ({ value, label: t(`activity.${value}`) }))}
      />
    </>
  );
  return (
    <Log
      title={t('activity.title')}
      columns={columns}
      rows={query.data?.pages.flatMap((page) => page.events)}
      rowKey={(event) => String(event.sequence)}
      search={{ label: t('activity.search'), text, onChange: setText }}
      tools={tools}
      problem={query.data ? null : problemText(query.error)}
      none={{ icon: IconActivity, title: t('activity.none') }}
      query={query}
    />
  );
}

function useColumns(names: Map<string, string>): Column<Event>[] {
  const { t } = useTranslation();
  const resultText = useResultText();
  const format = useFormat();
  return [
    { id: 'at', title: t('activity.at'), cell: (event) => <At at={event.at} /> },
    {
      id: 'kind',
      title: t('activity.kind'),
      cell: (event) => (
        <Status tone={TONES[event.kind]} plain>
          {t(`kind.${event.kind}`)}
        </Status>
      ),
    },
    {
      id: 'result',
      title: t('activity.result'),
      wide: true,
      cell: (event) => <span title={event.result}>{resultText(event.result)}</span>,
    },
    {
      id: 'mailbox',
      title: t('activity.mailbox'),
      from: 'tablet',
      cell: (event) =>
        event.mailbox ? (
          <Link to={`/mailboxes/${event.mailbox}`} className="nowrap">
            {names.get(event.mailbox) ?? event.mailbox}
          </Link>
        ) : null,
    },
    { id: 'listener', title: t('activity.listener'), from: 'tablet', cell: (event) => event.listener },
    {
      id: 'peer',
      title: t('activity.peer'),
      from: 'desktop',
      cell: (event) => <span className="mono nowrap">{event.peer}</span>,
    },
    {
      id: 'bytes',
      title: t('mailboxes.bytes'),
      align: 'right',
      from: 'desktop',
      cell: (event) =>
        event.bytes === null || event.bytes === undefined ? null : (
          <span className="nowrap">{format.bytes(event.bytes)}</span>
        ),
    },
    {
      id: 'message',
      title: t('activity.message'),
      from: 'wide',
      cell: (event) => <span className="mono">{event.message}</span>,
    },
  ];
}
