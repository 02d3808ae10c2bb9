import { Failure } from '@common/components/Ask';
import { type Column, DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Panel } from '@common/components/Panel';
import { Button, Center, Group, TextInput } from '@mantine/core';
import { type IconActivity, IconSearch } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import classes from './Activity.module.css';

interface LogProps<Row> {
  title: string;
  columns: Column<Row>[];
  rows: Row[] | undefined;
  rowKey: (row: Row) => string;
  search: { label: string; text: string; onChange: (text: string) => void };
  /** Beside the search. */
  tools: ReactNode;
  problem: string | null;
  none: { icon: typeof IconActivity; title: string };
  query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown };
}

/** What happened, the newest first, to be searched; older entries on request. */
export function Log<Row>({ title, columns, rows, rowKey, search, tools, problem, none, query }: LogProps<Row>) {
  const { t } = useTranslation();
  return (
    <Panel flush>
      <Group className={classes.tools ?? ''} gap="sm">
        <TextInput
          className={classes.search ?? ''}
          type="search"
          maw={420}
          aria-label={search.label}
          placeholder={search.label}
          leftSection={<IconSearch size={16} />}
          value={search.text}
          maxLength={200}
          onChange={(event) => search.onChange(event.currentTarget.value)}
        />
        {tools}
      </Group>
      <Failure text={problem} />
      <DataTable
        caption={title}
        columns={columns}
        rows={rows}
        rowKey={rowKey}
        pageSize={Number.POSITIVE_INFINITY}
        empty={<Empty {...none} />}
      />
      {query.hasNextPage && (
        <Center className={classes.more ?? ''}>
          <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
            {t('activity.older')}
          </Button>
        </Center>
      )}
    </Panel>
  );
}
