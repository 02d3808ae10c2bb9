// What each port really shows to whoever connects.

import { Failure } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { At } from '@common/format/Ago';
import { useWord } from '@common/language/useWord';
import { Button, Table } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { usePorts } from '../../api/certificate';
import { useProblemText } from '../../api/problem';
import type { PortShows } from '../../api/schema';

export function Ports() {
  const { t } = useTranslation();
  const word = useWord();
  const problemText = useProblemText();
  const ports = usePorts();
  return (
    <Panel
      title={t('certificate.ports')}
      about={t('certificate.portsAbout')}
      aside={
        <Button variant="default" loading={ports.isPending} onClick={() => ports.mutate()}>
          {t('certificate.lookAtPorts')}
        </Button>
      }
    >
      <Failure text={problemText(ports.error)} />
      {ports.data && (
        <Table.ScrollContainer minWidth={520} type="native">
          <Table>
            <caption className="unseen">{t('certificate.ports')}</caption>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t('overview.listener')}</Table.Th>
                <Table.Th scope="col">{t('overview.address')}</Table.Th>
                <Table.Th scope="col">{t('overview.state')}</Table.Th>
                <Table.Th scope="col">{t('overview.certificateUntil')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {ports.data.map((port) => (
                <Table.Tr key={`${port.listener} ${port.address}`}>
                  <Table.Td>{word('listener', port.listener)}</Table.Td>
                  <Table.Td className="mono">{port.address}</Table.Td>
                  <Table.Td>
                    <State port={port} />
                  </Table.Td>
                  <Table.Td>{port.expires_at ? <At at={port.expires_at} /> : null}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
    </Panel>
  );
}

function State({ port }: { port: PortShows }) {
  const { t } = useTranslation();
  if (port.trouble) return <Status tone="bad">{port.trouble}</Status>;
  if (port.is_current === true) return <Status tone="good">{t('certificate.portCurrent')}</Status>;
  if (port.is_current === false) {
    return (
      <>
        <Status tone="bad">{t('certificate.portOther')}</Status>
        <p className="dim">{port.names.join(', ')}</p>
      </>
    );
  }
  return <Status tone="calm">{t('certificate.portPlain')}</Status>;
}
