// Sends a test message and shows each step as it happens.

import { closeLabel, Failure } from '@common/components/Ask';
import { Button, Group, Loader, Modal, Stack, Text } from '@mantine/core';
import { IconCircleCheck, IconCircleDashed, IconCircleX } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import { queryClient } from '../../api/query';
import type { MailboxRow, Step, TestStep } from '../../api/schema';
import { useSteps } from '../../api/steps';
import classes from './TestMessage.module.css';

const STEPS: Step[] = ['connect', 'ehlo', 'tls', 'mail', 'rcpt', 'data', 'stored'];

interface TestMessageProps {
  mailbox: MailboxRow;
  opened: boolean;
  onClose: () => void;
}

export function TestMessage({ mailbox, opened, onClose }: TestMessageProps) {
  const { t } = useTranslation();
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={t('test.title')}
      size="lg"
      closeButtonProps={closeLabel(t('common.close'))}
    >
      <Sending mailbox={mailbox} onClose={onClose} />
    </Modal>
  );
}

function Sending({ mailbox, onClose }: { mailbox: MailboxRow; onClose: () => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const url = `/api/v1/mailboxes/${encodeURIComponent(mailbox.id)}/test-message`;
  const sending = useSteps<TestStep>(url, {
    onEnd: () => void queryClient.invalidateQueries({ queryKey: ['mailboxes'] }),
  });
  const { steps: told, running } = sending;
  const failed = told.find((step) => !step.ok);
  const done = told.at(-1)?.step === 'stored' && !failed;
  return (
    <Stack gap="md">
      <Text size="sm" c="dimmed">
        {t('test.about', { name: mailbox.name })}
      </Text>
      <ol className={classes.steps} aria-live="polite">
        {STEPS.map((step, at) => (
          <StepLine
            key={step}
            step={step}
            told={told.find((one) => one.step === step)}
            running={running && at === told.length}
          />
        ))}
      </ol>
      {done && (
        <Text size="sm" fw={560} c="var(--good)" role="status">
          {t('test.arrived')}
        </Text>
      )}
      {failed && (
        <Text size="sm" fw={560} c="var(--bad)" role="status">
          {t('test.failed')}
        </Text>
      )}
      <Failure text={problemText(sending.problem)} />
      <Group justify="flex-end" gap="sm">
        <Button variant="default" onClick={onClose}>
          {t('common.close')}
        </Button>
        <Button loading={running} onClick={() => sending.begin()} data-autofocus>
          {told.length === 0 ? t('test.send') : t('test.again')}
        </Button>
      </Group>
    </Stack>
  );
}

function StepLine({ step, told, running }: { step: Step; told: TestStep | undefined; running: boolean }) {
  const { t } = useTranslation();
  const tone = told ? (told.ok ? 'good' : 'bad') : 'open';
  const Icon = told ? (told.ok ? IconCircleCheck : IconCircleX) : IconCircleDashed;
  return (
    <li className={classes.step} data-tone={tone}>
      {running ? <Loader size={18} /> : <Icon size={20} stroke={1.6} aria-hidden />}
      <div className={classes.words}>
        <span className={classes.name}>
          {t(`test.${step}`)}
          {told && <span className="unseen"> {told.ok ? t('test.ok') : t('test.notOk')}</span>}
        </span>
        {told && <span className={classes.detail}>{told.detail}</span>}
      </div>
      {told && <span className={classes.time}>{told.at_ms} ms</span>}
    </li>
  );
}
