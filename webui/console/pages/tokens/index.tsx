// Bearer tokens for scripts.

import { Ask, Failure } from '@common/components/Ask';
import { type Column, DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { SecretDialog } from '@common/components/SecretDialog';
import { Status } from '@common/components/Status';
import { useToasts } from '@common/components/Toasts';
import { Ago } from '@common/format/Ago';
import { ActionIcon, Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconKey, IconPlus, IconTrash } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { tokensQuery, useRemoveToken } from '../../api/people';
import { useProblemText } from '../../api/problem';
import type { Token, TokenWithText } from '../../api/schema';
import { Create } from './Create';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(tokensQuery);
  const [creating, create] = useDisclosure();
  const [made, setMade] = useState<TokenWithText | null>(null);
  const columns = useColumns();
  return (
    <Frame
      title={t('nav.tokens')}
      about={t('tokens.about')}
      actions={
        <Button leftSection={<IconPlus size={16} />} onClick={create.open}>
          {t('tokens.create')}
        </Button>
      }
    >
      <Failure text={data ? null : problemText(error)} />
      <Panel flush>
        <DataTable
          caption={t('nav.tokens')}
          columns={columns}
          rows={data}
          rowKey={(token) => token.id}
          initialSort={{ id: 'created', descending: true }}
          empty={
            <Empty icon={IconKey} title={t('tokens.none')}>
              {t('tokens.noneText')}
            </Empty>
          }
        />
      </Panel>
      <Create opened={creating} onClose={create.close} onMade={setMade} />
      <SecretDialog
        title={t('tokens.shownTitle')}
        secrets={made ? [{ label: t('tokens.text'), text: made.text }] : null}
        warning={t('tokens.shownWarning')}
        agreement={t('tokens.stored')}
        onDone={() => setMade(null)}
      />
    </Frame>
  );
}

function useColumns(): Column<Token>[] {
  const { t } = useTranslation();
  return [
    {
      id: 'name',
      title: t('tokens.name'),
      wide: true,
      sortBy: (token) => token.name,
      cell: (token) => <b>{token.name}</b>,
    },
    {
      id: 'owner',
      title: t('tokens.owner'),
      from: 'tablet',
      sortBy: (token) => token.owner,
      cell: (token) => token.owner,
    },
    {
      id: 'scopes',
      title: t('tokens.scopes'),
      cell: (token) => (
        <span className="nowrap">
          {token.scopes.map((scope) => (
            <Status key={scope} tone={scope === 'read' ? 'calm' : 'info'} plain>
              {t(`scope.${scope}`)}
            </Status>
          ))}
        </span>
      ),
    },
    {
      id: 'created',
      title: t('tokens.createdAt'),
      from: 'desktop',
      sortBy: (token) => token.created_at,
      cell: (token) => <Ago at={token.created_at} />,
    },
    {
      id: 'used',
      title: t('tokens.lastUsed'),
      from: 'tablet',
      sortBy: (token) => token.last_used_at,
      cell: (token) => <Ago at={token.last_used_at} none={t('tokens.notSinceStart')} />,
    },
    {
      id: 'expires',
      title: t('tokens.expires'),
      from: 'tablet',
      sortBy: (token) => token.expires_at,
      cell: (token) => <Ago at={token.expires_at} none={t('common.never')} />,
    },
    {
      id: 'remove',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (token) => <Remove token={token} />,
    },
  ];
}

function Remove({ token }: { token: Token }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const remove = useRemoveToken(token.id);
  const [asking, ask] = useDisclosure();
  const confirm = () =>
    remove.mutate(undefined, { onSuccess: () => toasts.done(t('tokens.removed', { name: token.name })) });
  return (
    <>
      <ActionIcon
        variant="subtle"
        color="red"
        aria-label={t('tokens.removeOf', { name: token.name })}
        onClick={ask.open}
      >
        <IconTrash size={17} />
      </ActionIcon>
      <Ask
        title={t('tokens.removeOf', { name: token.name })}
        opened={asking}
        onClose={ask.close}
        onConfirm={confirm}
        confirm={t('tokens.remove')}
        busy={remove.isPending}
        problem={problemText(remove.error)}
        dangerous
      >
        {t('tokens.removeText')}
      </Ask>
    </>
  );
}
