import type { Column } from '@common/components/DataTable';
import { Status } from '@common/components/Status';
import { At } from '@common/format/Ago';
import { useWord } from '@common/language/useWord';
import { Tooltip } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconListCheck } from '@tabler/icons-react';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { auditQuery } from '../../api/activity';
import { useProblemText } from '../../api/problem';
import type { AuditEntry, Chain } from '../../api/schema';
import classes from './Activity.module.css';
import { Log } from './Log';

/** Every change, who made it, when, from where. */
export function Audit() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [text, setText] = useState('');
  const [wanted] = useDebouncedValue(text.trim(), 250);
  const query = useInfiniteQuery(auditQuery(wanted));
  const columns = useColumns();
  const chain = query.data?.pages[0]?.chain;
  return (
    <Log
      title={t('audit.title')}
      columns={columns}
      rows={query.data?.pages.flatMap((page) => page.entries)}
      rowKey={(entry) => String(entry.sequence)}
      search={{ label: t('audit.search'), text, onChange: setText }}
      tools={<span className={classes.chain}>{chain && <Whole chain={chain} />}</span>}
      problem={query.data ? (chain?.broken ?? null) : problemText(query.error)}
      none={{ icon: IconListCheck, title: t('audit.none') }}
      query={query}
    />
  );
}

function Whole({ chain }: { chain: Chain }) {
  const { t } = useTranslation();
  const broken = chain.broken !== null && chain.broken !== undefined;
  return (
    <Tooltip label={t('audit.chainAbout', { digest: chain.last.slice(0, 16) })} multiline maw={340}>
      <span>
        <Status tone={broken ? 'bad' : 'good'}>
          {broken ? t('audit.broken') : t('audit.whole', { count: chain.lines })}
        </Status>
      </span>
    </Tooltip>
  );
}

function useColumns(): Column<AuditEntry>[] {
  const { t } = useTranslation();
  const word = useWord();
  return [
    { id: 'at', title: t('activity.at'), cell: (entry) => <At at={entry.at} /> },
    { id: 'who', title: t('audit.who'), cell: (entry) => <b>{entry.who}</b> },
    {
      id: 'action',
      title: t('audit.action'),
      cell: (entry) => <span className="nowrap">{word('action', entry.action)}</span>,
    },
    {
      id: 'detail',
      title: t('audit.detail'),
      wide: true,
      from: 'tablet',
      cell: (entry) => <span title={entry.detail}>{entry.detail}</span>,
    },
    {
      id: 'target',
      title: t('audit.target'),
      from: 'desktop',
      cell: (entry) => <span className="mono">{entry.target}</span>,
    },
    { id: 'how', title: t('audit.how'), from: 'desktop', cell: (entry) => <span className="nowrap">{entry.how}</span> },
    {
      id: 'from',
      title: t('audit.from'),
      from: 'desktop',
      cell: (entry) => <span className="mono">{entry.from}</span>,
    },
    {
      id: 'sequence',
      title: t('audit.sequence'),
      align: 'right',
      from: 'wide',
      cell: (entry) => entry.sequence,
    },
  ];
}
