// What destroys something: a new key pair, and the end of a mailbox. Both only when nothing can be lost by it.

import { Ask } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import { useToasts } from '@common/components/Toasts';
import { Button, TextInput } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { type ReactNode, useId, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';
import { useDeleteMailbox, useResetMailboxPassword } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow, MailboxWithPassword } from '../../api/schema';
import { useMay } from '../../api/session';
import { MailboxPassword } from './MailboxPassword';
import classes from './State.module.css';

export function Ending({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const operates = useMay('operator');
  const administrates = useMay('administrator');
  if (!operates) return null;
  return (
    <div className={classes.endings}>
      <Panel title={t('ending.title')} tone="bad">
        <Reset mailbox={mailbox} />
        {administrates && <Deletion mailbox={mailbox} />}
      </Panel>
    </div>
  );
}

/** Why it cannot be done now; nothing when it can. */
function useInTheWay(mailbox: MailboxRow): string | null {
  const { t } = useTranslation();
  const reasons = [
    mailbox.status === 'active' ? t('ending.active') : null,
    mailbox.messages > 0 ? t('ending.notEmpty', { count: mailbox.messages }) : null,
  ].filter((reason) => reason !== null);
  if (reasons.length > 0) return reasons.join(' ');
  return mailbox.in_the_way ? t('ending.busy') : null;
}

interface StepProps {
  title: string;
  about: string;
  why: string | null;
  button: (describedBy: string | undefined) => ReactNode;
}

function Step({ title, about, why, button }: StepProps) {
  const id = useId();
  return (
    <div className={classes.ending}>
      <div>
        <h3>{title}</h3>
        <p>{about}</p>
        {why && (
          <p id={id} className={classes.why}>
            {why}
          </p>
        )}
      </div>
      {button(why ? id : undefined)}
    </div>
  );
}

function Reset({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const why = useInTheWay(mailbox);
  const reset = useResetMailboxPassword(mailbox.id);
  const [asking, ask] = useDisclosure();
  const [made, setMade] = useState<MailboxWithPassword | null>(null);
  const confirm = () =>
    reset.mutate(undefined, {
      onSuccess: (done) => {
        ask.close();
        setMade(done);
      },
    });
  return (
    <>
      <Step
        title={t('ending.reset')}
        about={t('ending.resetAbout')}
        why={why}
        button={(describedBy) => (
          <Button variant="default" disabled={why !== null} aria-describedby={describedBy} onClick={ask.open}>
            {t('ending.resetButton')}
          </Button>
        )}
      />
      <Ask
        title={t('ending.reset')}
        opened={asking}
        onClose={ask.close}
        onConfirm={confirm}
        confirm={t('ending.resetConfirm')}
        busy={reset.isPending}
        problem={problemText(reset.error)}
        dangerous
      >
        {t('ending.resetText', { name: mailbox.name })}
      </Ask>
      <MailboxPassword made={made} title={t('ending.newPassword')} onDone={() => setMade(null)} />
    </>
  );
}

function Deletion({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const navigate = useNavigate();
  const why = useInTheWay(mailbox);
  const remove = useDeleteMailbox(mailbox.id);
  const [asking, ask] = useDisclosure();
  const [typed, setTyped] = useState('');
  const confirm = () =>
    remove.mutate(undefined, {
      onSuccess: () => {
        toasts.done(t('ending.deleted', { name: mailbox.name }));
        navigate('/mailboxes');
      },
    });
  return (
    <>
      <Step
        title={t('ending.delete')}
        about={t('ending.deleteAbout')}
        why={why}
        button={(describedBy) => (
          <Button color="red" disabled={why !== null} aria-describedby={describedBy} onClick={ask.open}>
            {t('ending.deleteButton')}
          </Button>
        )}
      />
      <Ask
        title={t('ending.delete')}
        opened={asking}
        onClose={ask.close}
        onConfirm={confirm}
        confirm={t('ending.deleteConfirm')}
        busy={remove.isPending}
        disabled={typed.trim() !== mailbox.name.trim()}
        problem={problemText(remove.error)}
        dangerous
      >
        {t('ending.deleteText', { name: mailbox.name })}
        <TextInput
          mt="md"
          label={t('ending.typeName')}
          description={mailbox.name}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
        />
      </Ask>
    </>
  );
}
