// All mailboxes: what waits in them, when mail last came and was pulled.

import { Failure } from '@common/components/Ask';
import { DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { useFormat } from '@common/format/useFormat';
import { Button, Group, SegmentedControl, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconMailbox, IconPlus, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { mailboxesQuery } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';
import { useMay } from '../../api/session';
import { Create } from './Create';
import { useColumns } from './columns';
import classes from './Mailboxes.module.css';

type Shown = 'all' | 'active' | 'suspended';

export function Page() {
  const { t } = useTranslation();
  const format = useFormat();
  const problemText = useProblemText();
  const operates = useMay('operator');
  const { data, error } = useQuery(mailboxesQuery);
  const [text, setText] = useState('');
  const [shown, setShown] = useState<Shown>('all');
  const [creating, create] = useDisclosure();
  const columns = useColumns();
  const rows = data?.filter((row) => (shown === 'all' || row.status === shown) && isAbout(row, text));
  const waiting = data?.reduce((sum, row) => sum + row.messages, 0) ?? 0;
  return (
    <Frame
      title={t('nav.mailboxes')}
      about={
        data ? t('mailboxes.summary', { count: data.length, waiting: format.number(waiting) }) : t('common.loading')
      }
      actions={
        operates && (
          <Button leftSection={<IconPlus size={16} />} onClick={create.open}>
            {t('mailboxes.create')}
          </Button>
        )
      }
    >
      <Failure text={data ? null : problemText(error)} />
      <Panel flush>
        <Group className={classes.tools ?? ''} gap="sm">
          <TextInput
            className={classes.search ?? ''}
            type="search"
            size="sm"
            aria-label={t('mailboxes.search')}
            placeholder={t('mailboxes.search')}
            leftSection={<IconSearch size={16} />}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <SegmentedControl
            size="xs"
            aria-label={t('mailboxes.status')}
            value={shown}
            onChange={(value) => setShown(value as Shown)}
            data={[
              { value: 'all', label: t('mailboxes.all') },
              { value: 'active', label: t('status.active') },
              { value: 'suspended', label: t('status.suspended') },
            ]}
          />
        </Group>
        <DataTable
          caption={t('nav.mailboxes')}
          columns={columns}
          rows={rows}
          rowKey={(row) => row.id}
          initialSort={{ id: 'name', descending: false }}
          empty={
            data?.length === 0 ? (
              <Empty icon={IconMailbox} title={t('mailboxes.none')}>
                {t('mailboxes.noneText')}
              </Empty>
            ) : (
              <Empty icon={IconSearch} title={t('mailboxes.notFound')} />
            )
          }
        />
      </Panel>
      <Create opened={creating} onClose={create.close} />
    </Frame>
  );
}

function isAbout(row: MailboxRow, text: string): boolean {
  const wanted = text.trim().toLocaleLowerCase();
  return [row.name, row.description, row.address].some((field) => field.toLocaleLowerCase().includes(wanted));
}
