// Accounts at providers that take no passwords: mail clients log in with a proxy password, the gateway with tokens.

import { Failure } from '@common/components/Ask';
import { type Column, DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Panel } from '@common/components/Panel';
import { Ago } from '@common/format/Ago';
import { Alert, Button, Group, Stack } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconAlertTriangle, IconLink, IconPlus } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { bindingsQuery } from '../../api/care';
import { useProblemText } from '../../api/problem';
import type { BindingRow, RevokedRow } from '../../api/schema';
import { Bind } from './Bind';
import { Revoke } from './Revoke';

export function Bindings() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(bindingsQuery);
  const [binding, bind] = useDisclosure();
  const bound = useBound();
  const revoked = useRevoked();
  const none = data?.providers.length === 0;
  return (
    <Stack gap={20}>
      <Failure text={data ? null : problemText(error)} />
      {data && data.damaged.length > 0 && (
        <Alert color="red" icon={<IconAlertTriangle size={18} />} title={t('binding.damaged')}>
          {data.damaged.map((file) => (
            <div key={file} lang="en">
              {file}
            </div>
          ))}
        </Alert>
      )}
      {data && !none && (
        <Group>
          <Button leftSection={<IconPlus size={16} />} onClick={bind.open}>
            {t('binding.bind')}
          </Button>
        </Group>
      )}
      <Panel flush>
        <DataTable
          caption={t('binding.title')}
          columns={bound}
          rows={data?.bindings}
          rowKey={(row) => row.account}
          initialSort={{ id: 'account', descending: false }}
          empty={
            <Empty icon={IconLink} title={t('binding.none')}>
              {t(none ? 'binding.noProvider' : 'binding.noneText')}
            </Empty>
          }
        />
      </Panel>
      {data && data.revoked.length > 0 && (
        <Panel title={t('binding.revoked')} about={t('binding.revokedAbout')} flush>
          <DataTable
            caption={t('binding.revoked')}
            columns={revoked}
            rows={data.revoked}
            rowKey={(row) => row.account}
            empty={null}
          />
        </Panel>
      )}
      {data && <Bind providers={data.providers} opened={binding} onClose={bind.close} />}
    </Stack>
  );
}

function useBound(): Column<BindingRow>[] {
  const { t } = useTranslation();
  return [
    {
      id: 'account',
      title: t('binding.account'),
      wide: true,
      sortBy: (row) => row.account,
      cell: (row) => (
        <span className="mono" title={row.hosts.join(', ')}>
          {row.account}
        </span>
      ),
    },
    {
      id: 'provider',
      title: t('binding.provider'),
      from: 'tablet',
      sortBy: (row) => row.provider,
      cell: (row) => row.provider,
    },
    {
      id: 'created',
      title: t('binding.boundAt'),
      from: 'desktop',
      sortBy: (row) => row.created_at,
      cell: (row) => <Ago at={row.created_at} />,
    },
    {
      id: 'used',
      title: t('binding.usedAt'),
      from: 'tablet',
      sortBy: (row) => row.used_at,
      cell: (row) => <Ago at={row.used_at} none={t('common.never')} />,
    },
    {
      id: 'revoke',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (row) => <Revoke account={row.account} />,
    },
  ];
}

function useRevoked(): Column<RevokedRow>[] {
  const { t } = useTranslation();
  return [
    {
      id: 'account',
      title: t('binding.account'),
      wide: true,
      cell: (row) => <span className="mono">{row.account}</span>,
    },
    { id: 'provider', title: t('binding.provider'), from: 'tablet', cell: (row) => row.provider },
    { id: 'revoked', title: t('binding.revokedAt'), from: 'tablet', cell: (row) => <Ago at={row.revoked_at} /> },
    {
      id: 'forget',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (row) => <Revoke account={row.account} forget />,
    },
  ];
}
