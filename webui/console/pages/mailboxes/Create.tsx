// A new mailbox, and its password: the only key to its mail, shown this once.

import { Dialog, Form } from '@common/components/Form';
import { useToasts } from '@common/components/Toasts';
import { Accordion, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCreateMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxWithPassword } from '../../api/schema';
import { MailboxPassword } from './MailboxPassword';
import { NameFields, type Naming, trimmed } from './NameFields';
import { PolicyFields } from './PolicyFields';
import { draftOf, policyOf, wrongFields } from './policy';

export function Create({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  const toasts = useToasts();
  const [made, setMade] = useState<MailboxWithPassword | null>(null);
  return (
    <>
      <Dialog opened={opened} onClose={onClose} title={t('create.title')} size="lg">
        <Fields
          onCancel={onClose}
          onMade={(mailbox) => {
            onClose();
            setMade(mailbox);
          }}
        />
      </Dialog>
      <MailboxPassword
        made={made}
        title={t('create.passwordTitle')}
        onDone={() => {
          toasts.done(t('create.done', { name: made?.mailbox.name ?? '' }));
          setMade(null);
        }}
      />
    </>
  );
}

function Fields({ onCancel, onMade }: { onCancel: () => void; onMade: (made: MailboxWithPassword) => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const create = useCreateMailbox();
  const [naming, setNaming] = useState<Naming>({ name: '', description: '' });
  const [recoveryKey, setRecoveryKey] = useState('');
  const [policy, setPolicy] = useState(draftOf(undefined));
  const submit = () => {
    if (wrongFields(policy).length > 0) return;
    const recovery = recoveryKey.trim();
    create.mutate(
      {
        ...trimmed(naming),
        policy: policyOf(policy),
        recovery_key: recovery === '' ? null : recovery,
      },
      { onSuccess: onMade },
    );
  };
  return (
    <Form
      submit={t('create.submit')}
      onSubmit={submit}
      onCancel={onCancel}
      busy={create.isPending}
      problem={problemText(create.error)}
    >
      <NameFields naming={naming} onChange={setNaming} about={t('create.nameAbout')} />
      <Accordion variant="separated">
        <Accordion.Item value="policy">
          <Accordion.Control>{t('policy.title')}</Accordion.Control>
          <Accordion.Panel>
            <PolicyFields draft={policy} onChange={setPolicy} />
          </Accordion.Panel>
        </Accordion.Item>
        <Accordion.Item value="recovery">
          <Accordion.Control>{t('create.recovery')}</Accordion.Control>
          <Accordion.Panel>
            <Textarea
              label={t('create.recoveryKey')}
              description={t('create.recoveryAbout')}
              value={recoveryKey}
              onChange={(event) => setRecoveryKey(event.currentTarget.value)}
              classNames={{ input: 'mono' }}
              spellCheck={false}
              autosize
              minRows={2}
            />
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
    </Form>
  );
}
