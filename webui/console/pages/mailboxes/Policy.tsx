import { Failure } from '@common/components/Ask';
import { Panel } from '@common/components/Panel';
import { useToasts } from '@common/components/Toasts';
import { Button, Fieldset, Group, Stack } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useEditMailbox } from '../../api/mailboxes';
import { useProblemText } from '../../api/problem';
import type { MailboxRow } from '../../api/schema';
import { useMay } from '../../api/session';
import { PolicyFields } from './PolicyFields';
import { draftOf, policyOf, wrongFields } from './policy';

export function Policy({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const operates = useMay('operator');
  const edit = useEditMailbox(mailbox.id);
  const [draft, setDraft] = useState(draftOf(mailbox.policy));
  const unchanged = JSON.stringify(draft) === JSON.stringify(draftOf(mailbox.policy));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (wrongFields(draft).length > 0) return;
    edit.mutate(
      { policy: policyOf(draft) },
      {
        onSuccess: (saved) => {
          setDraft(draftOf(saved.policy));
          toasts.done(t('common.saved'));
        },
      },
    );
  };
  return (
    <Panel title={t('policy.title')} about={t('policy.about')}>
      <form onSubmit={submit}>
        <Stack gap="lg" maw={720}>
          <Fieldset variant="unstyled" disabled={!operates}>
            <PolicyFields draft={draft} onChange={setDraft} />
          </Fieldset>
          <Failure text={problemText(edit.error)} />
          {operates && (
            <Group gap="sm">
              <Button type="submit" disabled={unchanged} loading={edit.isPending}>
                {t('common.save')}
              </Button>
              <Button variant="default" disabled={unchanged} onClick={() => setDraft(draftOf(mailbox.policy))}>
                {t('common.discard')}
              </Button>
            </Group>
          )}
        </Stack>
      </form>
    </Panel>
  );
}
