// A new mailbox, and its password: the only key to its mail, shown this once.

import { closeLabel, Failure } from '@common/components/Ask';
import { useToasts } from '@common/components/Toasts';
import { Accordion, Button, Group, Modal, Stack, Textarea, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useCreateMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxWithPassword } from '../../api/schema';
import { MailboxPassword } from './MailboxPassword';
import { PolicyFields } from './PolicyFields';
import { draftOf, policyOf, wrongFields } from './policy';

export function Create({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { t } = useTranslation();
  const toasts = useToasts();
  const [made, setMade] = useState<MailboxWithPassword | null>(null);
  return (
    <>
      <Modal
        opened={opened}
        onClose={onClose}
        title={t('create.title')}
        size="lg"
        closeButtonProps={closeLabel(t('common.close'))}
      >
        <Form
          onCancel={onClose}
          onMade={(mailbox) => {
            onClose();
            setMade(mailbox);
          }}
        />
      </Modal>
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

function Form({ onCancel, onMade }: { onCancel: () => void; onMade: (made: MailboxWithPassword) => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const create = useCreateMailbox();
  const [name, setName] = useState('');
  const [description, setDescription] = useState('');
  const [recoveryKey, setRecoveryKey] = useState('');
  const [policy, setPolicy] = useState(draftOf(undefined));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (wrongFields(policy).length > 0) return;
    const recovery = recoveryKey.trim();
    create.mutate(
      {
        name: name.trim(),
        description: description.trim(),
        policy: policyOf(policy),
        recovery_key: recovery === '' ? null : recovery,
      },
      { onSuccess: onMade },
    );
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <TextInput
          label={t('mailboxes.name')}
          description={t('create.nameAbout')}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          maxLength={100}
          required
          data-autofocus
        />
        <Textarea
          label={t('mailboxes.description')}
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          maxLength={1000}
          autosize
          minRows={2}
        />
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
        <Failure text={problemText(create.error)} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onCancel}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" loading={create.isPending}>
            {t('create.submit')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
