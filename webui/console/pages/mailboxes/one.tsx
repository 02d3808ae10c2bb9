// One mailbox: its state, how to reach it, what it takes, and its end.

import { Failure } from '@common/components/Ask';
import { Page as Frame } from '@common/components/Page';
import { Anchor, Button, Menu, Tabs } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconArrowLeft, IconDots, IconEdit, IconPlayerPause, IconPlayerPlay, IconSend } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { Link, useParams, useSearchParams } from 'react-router';
import { mailboxQuery } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';
import { useMay } from '../../api/session';
import { Connect } from './connect/Connect';
import { Edit } from './Edit';
import { Ending } from './Ending';
import { MailboxStatus } from './MailboxStatus';
import { Policy } from './Policy';
import { State } from './State';
import { Suspension } from './Suspension';
import { TestMessage } from './TestMessage';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { id = '' } = useParams();
  const { data, error } = useQuery(mailboxQuery(id));
  if (data) return <One mailbox={data} stale={error} />;
  return (
    <Frame title={id} above={<Back />}>
      <Failure text={problemText(error)} />
      {!error && t('common.loading')}
    </Frame>
  );
}

function Back() {
  const { t } = useTranslation();
  return (
    <Anchor component={Link} to="/mailboxes" size="sm" className="nowrap">
      <IconArrowLeft size={14} aria-hidden /> {t('nav.mailboxes')}
    </Anchor>
  );
}

const TABS = ['state', 'connect', 'policy'] as const;

function One({ mailbox, stale }: { mailbox: MailboxRow; stale: unknown }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [search, setSearch] = useSearchParams();
  const tab = TABS.find((name) => name === search.get('tab')) ?? 'state';
  return (
    <Frame
      title={mailbox.name}
      above={<Back />}
      beside={<MailboxStatus status={mailbox.status} />}
      about={mailbox.description}
      actions={<Actions mailbox={mailbox} />}
    >
      <Failure text={problemText(stale)} />
      <Tabs
        value={tab}
        onChange={(value) => setSearch(value === 'state' || !value ? {} : { tab: value }, { replace: true })}
        keepMounted={false}
      >
        <Tabs.List mb="lg">
          <Tabs.Tab value="state">{t('mailboxes.state')}</Tabs.Tab>
          <Tabs.Tab value="connect">{t('connect.title')}</Tabs.Tab>
          <Tabs.Tab value="policy">{t('policy.title')}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="state">
          <State mailbox={mailbox} />
          <Ending mailbox={mailbox} />
        </Tabs.Panel>
        <Tabs.Panel value="connect">
          <Connect id={mailbox.id} />
        </Tabs.Panel>
        <Tabs.Panel value="policy">
          <Policy mailbox={mailbox} />
        </Tabs.Panel>
      </Tabs>
    </Frame>
  );
}

function Actions({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const operates = useMay('operator');
  const [editing, edit] = useDisclosure();
  const [suspending, suspend] = useDisclosure();
  const [testing, test] = useDisclosure();
  const active = mailbox.status === 'active';
  if (!operates) return null;
  return (
    <>
      <Button variant="default" leftSection={<IconSend size={16} />} onClick={test.open}>
        {t('test.title')}
      </Button>
      <Menu position="bottom-end" width={210} shadow="md">
        <Menu.Target>
          <Button variant="default" rightSection={<IconDots size={16} />}>
            {t('common.actions')}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconEdit size={16} />} onClick={edit.open}>
            {t('mailboxes.edit')}
          </Menu.Item>
          <Menu.Item
            leftSection={active ? <IconPlayerPause size={16} /> : <IconPlayerPlay size={16} />}
            onClick={suspend.open}
          >
            {active ? t('mailboxes.suspend') : t('mailboxes.activate')}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <Edit mailbox={mailbox} opened={editing} onClose={edit.close} />
      <Suspension mailbox={mailbox} opened={suspending} onClose={suspend.close} />
      <TestMessage mailbox={mailbox} opened={testing} onClose={test.close} />
    </>
  );
}
