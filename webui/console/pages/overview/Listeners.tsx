import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { useFormat } from '@common/format/useFormat';
import { useWord } from '@common/language/useWord';
import { Table } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import type { ListenerState } from '../../api/schema';
import classes from './Small.module.css';

export function Listeners({ listeners }: { listeners: ListenerState[] }) {
  const { t } = useTranslation();
  const word = useWord();
  const format = useFormat();
  return (
    <Panel title={t('overview.listeners')} flush>
      <Table className={classes.table ?? ''}>
        <caption className="unseen">{t('overview.listeners')}</caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('overview.listener')}</Table.Th>
            <Table.Th scope="col">{t('overview.address')}</Table.Th>
            <Table.Th scope="col">{t('overview.state')}</Table.Th>
            <Table.Th scope="col" ta="right">
              {t('overview.sessions')}
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {listeners.map((listener) => (
            <Table.Tr key={listener.name}>
              <Table.Th scope="row" fw={520}>
                <span className="mono">{listener.name}</span>
                <div className={classes.about}>{word('listener', listener.name)}</div>
              </Table.Th>
              <Table.Td className="mono">
                {listener.addresses.map((address) => (
                  <div key={address}>{address}</div>
                ))}
              </Table.Td>
              <Table.Td>
                {listener.addresses.length > 0 ? (
                  <Status tone="good">{t('overview.open')}</Status>
                ) : (
                  <Status tone="calm">{t('overview.off')}</Status>
                )}
              </Table.Td>
              <Table.Td ta="right" className="numbers">
                {listener.sessions === null || listener.sessions === undefined ? '–' : format.number(listener.sessions)}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Panel>
  );
}
