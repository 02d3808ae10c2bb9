// A dense table: sorting by its headings, pages when it is long, fewer columns where there is little room.
import { ActionIcon, Group, Skeleton, Table, UnstyledButton } from '@mantine/core';
import { IconChevronDown, IconChevronLeft, IconChevronRight, IconChevronUp, IconSelector } from '@tabler/icons-react';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import classes from './DataTable.module.css';
import { type SortValue, sorted } from './sorting';

export interface Column<R> {
  id: string;
  title: string;
  /** The title is for screen readers only. */
  untitled?: boolean;
  cell: (row: R) => ReactNode;
  sortBy?: (row: R) => SortValue;
  align?: 'right';
  /** Shown only where there is room: from tablet width, or from desktop width. */
  from?: 'tablet' | 'desktop' | 'wide';
  /** Takes the room that is left, and cuts what is longer. */
  wide?: boolean;
}

interface DataTableProps<R> {
  /** Names the table to screen readers. */
  caption: string;
  columns: Column<R>[];
  rows: R[] | undefined;
  rowKey: (row: R) => string;
  empty: ReactNode;
  initialSort?: { id: string; descending: boolean };
  pageSize?: number;
  minWidth?: number;
}

export function DataTable<R>(props: DataTableProps<R>) {
  const { caption, columns, rows, rowKey, empty, pageSize = 50 } = props;
  const { t } = useTranslation();
  const [sort, setSort] = useState(props.initialSort);
  const [wanted, setPage] = useState(0);
  const by = columns.find((column) => column.id === sort?.id)?.sortBy;
  const all = rows && by ? sorted(rows, by, sort?.descending ?? false) : (rows ?? []);
  const pages = Math.max(1, Math.ceil(all.length / pageSize));
  const page = Math.min(wanted, pages - 1);
  const shown = all.slice(page * pageSize, (page + 1) * pageSize);
  if (rows && rows.length === 0) return <div className={classes.empty}>{empty}</div>;
  return (
    <>
      <section className={classes.scroll} aria-label={caption} {...scrollable}>
        <Table className={classes.table} miw={props.minWidth} highlightOnHover>
          <caption className="unseen">{caption}</caption>
          <Table.Thead>
            <Table.Tr>
              {columns.map((column) => (
                <Heading
                  key={column.id}
                  column={column}
                  direction={sort?.id === column.id ? (sort.descending ? 'descending' : 'ascending') : undefined}
                  onSort={() =>
                    setSort({ id: column.id, descending: sort?.id === column.id ? !sort.descending : false })
                  }
                />
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows
              ? shown.map((row) => (
                  <Table.Tr key={rowKey(row)}>
                    {columns.map((column) => (
                      <Table.Td key={column.id} {...look(column)}>
                        {column.cell(row)}
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))
              : [1, 2, 3].map((row) => (
                  <Table.Tr key={row}>
                    {columns.map((column) => (
                      <Table.Td key={column.id} {...look(column)}>
                        <Skeleton height={12} my={5} />
                      </Table.Td>
                    ))}
                  </Table.Tr>
                ))}
          </Table.Tbody>
        </Table>
      </section>
      {pages > 1 && (
        <Group className={classes.foot} justify="space-between">
          <span>
            {t('table.range', { from: page * pageSize + 1, to: page * pageSize + shown.length, count: all.length })}
          </span>
          <Group gap={4}>
            <ActionIcon
              variant="default"
              disabled={page === 0}
              aria-label={t('table.previous')}
              onClick={() => setPage(page - 1)}
            >
              <IconChevronLeft size={16} />
            </ActionIcon>
            <ActionIcon
              variant="default"
              disabled={page >= pages - 1}
              aria-label={t('table.next')}
              onClick={() => setPage(page + 1)}
            >
              <IconChevronRight size={16} />
            </ActionIcon>
          </Group>
        </Group>
      )}
    </>
  );
}

/** What is wider than its place scrolls, by keyboard too. */
const scrollable = { tabIndex: 0 };

function look<R>(column: Column<R>) {
  return { 'data-from': column.from, 'data-align': column.align, 'data-wide': column.wide || undefined };
}

interface HeadingProps<R> {
  column: Column<R>;
  direction: 'ascending' | 'descending' | undefined;
  onSort: () => void;
}

function Heading<R>({ column, direction, onSort }: HeadingProps<R>) {
  if (column.untitled) {
    return (
      <Table.Th scope="col" {...look(column)}>
        <span className="unseen">{column.title}</span>
      </Table.Th>
    );
  }
  if (!column.sortBy) {
    return (
      <Table.Th scope="col" {...look(column)}>
        {column.title}
      </Table.Th>
    );
  }
  const Arrow = direction === 'ascending' ? IconChevronUp : direction ? IconChevronDown : IconSelector;
  return (
    <Table.Th scope="col" aria-sort={direction ?? 'none'} {...look(column)}>
      <UnstyledButton className={classes.sort} onClick={onSort} data-active={direction !== undefined || undefined}>
        {column.title}
        <Arrow size={13} aria-hidden />
      </UnstyledButton>
    </Table.Th>
  );
}
