import { CopyButton } from '@common/components/Copy';
import type { Column } from '@common/components/DataTable';
import { Sparkline } from '@common/components/Sparkline';
import { Ago } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { MailboxRow } from '../../api/schema';
import classes from './Mailboxes.module.css';
import { MailboxStatus } from './MailboxStatus';
import { RowMenu } from './RowMenu';

export function useColumns(): Column<MailboxRow>[] {
  const { t } = useTranslation();
  const format = useFormat();
  const today = (row: MailboxRow) => row.hours.reduce((sum, count) => sum + count, 0);
  return [
    {
      id: 'name',
      title: t('mailboxes.name'),
      wide: true,
      sortBy: (row) => row.name,
      cell: (row) => (
        <>
          <Link to={`/mailboxes/${row.id}`} className={classes.name}>
            {row.name}
          </Link>
          {row.description && <span className={classes.description}>{row.description}</span>}
        </>
      ),
    },
    {
      id: 'address',
      title: t('mailboxes.address'),
      from: 'tablet',
      sortBy: (row) => row.address,
      cell: (row) => (
        <span className={classes.address}>
          <span className="mono" title={row.address}>
            {row.id}
          </span>
          <CopyButton text={row.address} label={t('mailboxes.copyAddress', { name: row.name })} />
        </span>
      ),
    },
    {
      id: 'status',
      title: t('mailboxes.status'),
      sortBy: (row) => row.status,
      cell: (row) => <MailboxStatus status={row.status} />,
    },
    {
      id: 'messages',
      title: t('mailboxes.messages'),
      align: 'right',
      sortBy: (row) => row.messages,
      cell: (row) => <span data-testid={`messages-${row.id}`}>{format.number(row.messages)}</span>,
    },
    {
      id: 'bytes',
      title: t('mailboxes.bytes'),
      align: 'right',
      from: 'tablet',
      sortBy: (row) => row.bytes,
      cell: (row) => <span className="nowrap">{format.bytes(row.bytes)}</span>,
    },
    {
      id: 'oldest',
      title: t('mailboxes.oldest'),
      from: 'desktop',
      sortBy: (row) => row.oldest_at,
      cell: (row) => <Ago at={row.oldest_at} />,
    },
    {
      id: 'delivery',
      title: t('mailboxes.lastDelivery'),
      from: 'tablet',
      sortBy: (row) => row.last_delivery_at,
      cell: (row) => <Ago at={row.last_delivery_at} none={t('common.never')} />,
    },
    {
      id: 'pull',
      title: t('mailboxes.lastPull'),
      from: 'tablet',
      sortBy: (row) => row.last_pull_at,
      cell: (row) => <Ago at={row.last_pull_at} none={t('common.never')} />,
    },
    {
      id: 'day',
      title: t('mailboxes.day'),
      from: 'desktop',
      sortBy: today,
      cell: (row) => <Sparkline values={row.hours} label={t('mailboxes.dayLabel', { count: today(row) })} />,
    },
    {
      id: 'menu',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (row) => <RowMenu mailbox={row} />,
    },
  ];
}
