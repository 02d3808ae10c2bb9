import { MantineProvider } from '@mantine/core';
import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import i18next from 'i18next';
import { initReactI18next } from 'react-i18next';
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { linePath, roundUp, thinned } from './course';
import { DataTable } from './DataTable';
import { SecretDialog } from './SecretDialog';
import { sorted } from './sorting';

beforeAll(() =>
  i18next.use(initReactI18next).init({ showSupportNotice: false, lng: 'en', resources: { en: { translation: {} } } }),
);
afterEach(cleanup);

it('sorts words as people do, numbers as numbers, and puts what has no value last', () => {
  const rows = ['b10', 'B9', 'a'];
  expect(sorted(rows, (row) => row, false)).toEqual(['a', 'B9', 'b10']);
  expect(sorted([3, 20, 1], (row) => row, true)).toEqual([20, 3, 1]);
  expect(sorted([null, 2, null, 1], (row) => row, true)).toEqual([2, 1, null, null]);
  expect(sorted([null, 2, 1], (row) => row, false)).toEqual([1, 2, null]);
});

it('says in its headings how it is sorted, and turns pages', () => {
  const rows = Array.from({ length: 60 }, (_, at) => ({ id: String(at), count: at }));
  const columns = [
    {
      id: 'count',
      title: 'Count',
      sortBy: (row: { count: number }) => row.count,
      cell: (row: { count: number }) => row.count,
    },
  ];
  render(
    <MantineProvider>
      <DataTable caption="Things" columns={columns} rows={rows} rowKey={(row) => row.id} empty="none" pageSize={50} />
    </MantineProvider>,
  );
  const heading = screen.getByRole('columnheader', { name: 'Count' });
  expect(heading.getAttribute('aria-sort')).toBe('none');
  fireEvent.click(screen.getByRole('button', { name: 'Count' }));
  fireEvent.click(screen.getByRole('button', { name: 'Count' }));
  expect(heading.getAttribute('aria-sort')).toBe('descending');
  expect(screen.getAllByRole('cell')[0]?.textContent).toBe('59');
  fireEvent.click(screen.getByRole('button', { name: 'table.next' }));
  expect(screen.getAllByRole('cell')).toHaveLength(10);
});

it('lets nobody past a secret who has not said to have read the warning', () => {
  const done = vi.fn();
  render(
    <MantineProvider env="test">
      <SecretDialog
        title="Shown"
        warning="Only once"
        agreement="Understood"
        secrets={[{ label: 'Password', text: 'xyz' }]}
        onDone={done}
      />
    </MantineProvider>,
  );
  const ok = screen.getByRole('button', { name: 'common.ok' }) as HTMLButtonElement;
  expect(ok.disabled).toBe(true);
  fireEvent.keyDown(document.body, { key: 'Escape' });
  expect(screen.getByText('xyz')).toBeTruthy();
  fireEvent.click(screen.getByRole('checkbox', { name: 'Understood' }));
  fireEvent.click(ok);
  expect(done).toHaveBeenCalledOnce();
});

it('draws lines through what it is given', () => {
  expect(linePath([0, 1], 10, 20)).toBe('M0.0 20.0L10.0 0.0');
  expect(linePath([], 10, 20)).toBe('');
  expect([0, 0.3, 1, 7, 23, 99].map(roundUp)).toEqual([1, 0.5, 1, 10, 25, 100]);
  const sum = (group: number[]) => group.reduce((before, value) => before + value, 0);
  expect(thinned([1, 2, 3, 4, 5], 2, sum)).toEqual([12]);
  expect(thinned([1, 2, 3, 4, 5, 6], 3, sum)).toEqual([3, 7, 11]);
  expect(thinned([1, 2], 5, sum)).toEqual([1, 2]);
});
