import { ActionIcon, Menu } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconDots,
  IconEdit,
  IconInfoCircle,
  IconPlayerPause,
  IconPlayerPlay,
  IconPlugConnected,
  IconSend,
} from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';
import type { MailboxRow } from '../../api/schema';
import { useMay } from '../../api/session';
import { Edit } from './Edit';
import { Suspension } from './Suspension';
import { TestMessage } from './TestMessage';

/** What is done with one mailbox, in the list. */
export function RowMenu({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const operates = useMay('operator');
  const [editing, edit] = useDisclosure();
  const [suspending, suspend] = useDisclosure();
  const [testing, test] = useDisclosure();
  const active = mailbox.status === 'active';
  return (
    <>
      <Menu position="bottom-end" width={230} shadow="md">
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={t('mailboxes.actionsFor', { name: mailbox.name })}>
            <IconDots size={18} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconInfoCircle size={16} />} onClick={() => navigate(`/mailboxes/${mailbox.id}`)}>
            {t('mailboxes.open')}
          </Menu.Item>
          <Menu.Item
            leftSection={<IconPlugConnected size={16} />}
            onClick={() => navigate(`/mailboxes/${mailbox.id}?tab=connect`)}
          >
            {t('connect.title')}
          </Menu.Item>
          {operates && (
            <>
              <Menu.Item leftSection={<IconSend size={16} />} onClick={test.open}>
                {t('test.title')}
              </Menu.Item>
              <Menu.Item leftSection={<IconEdit size={16} />} onClick={edit.open}>
                {t('mailboxes.edit')}
              </Menu.Item>
              <Menu.Item
                leftSection={active ? <IconPlayerPause size={16} /> : <IconPlayerPlay size={16} />}
                onClick={suspend.open}
              >
                {active ? t('mailboxes.suspend') : t('mailboxes.activate')}
              </Menu.Item>
            </>
          )}
        </Menu.Dropdown>
      </Menu>
      <Edit mailbox={mailbox} opened={editing} onClose={edit.close} />
      <Suspension mailbox={mailbox} opened={suspending} onClose={suspend.close} />
      <TestMessage mailbox={mailbox} opened={testing} onClose={test.close} />
    </>
  );
}
