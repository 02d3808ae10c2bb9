// Asks the authority for a certificate now, and shows each step in its words.

import { Failure } from '@common/components/Ask';
import { Status } from '@common/components/Status';
import { Ago } from '@common/format/Ago';
import { Button, Checkbox, Group, Loader, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { certificateChanged } from '../../api/certificate';
import { useProblemText } from '../../api/problem';
import type { Authority, OrderStep, StoredCertificate } from '../../api/schema';
import { useSteps } from '../../api/steps';
import classes from './Certificate.module.css';

interface AskingProps {
  authority: Authority;
  onStored: (stored: StoredCertificate) => void;
}

export function Asking({ authority, onStored }: AskingProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [rehearsal, setRehearsal] = useState(false);
  const { steps, running, problem, begin } = useSteps<OrderStep>('/api/v1/certificate/acme', {
    onStep: ({ certificate }) => certificate && onStored(certificate),
    onEnd: () => void certificateChanged(),
  });
  return (
    <Stack gap="md">
      <Past authority={authority} />
      {!authority.accept_terms && <Text size="sm">{t('certificate.termsFirst')}</Text>}
      <Checkbox
        label={t('certificate.rehearsal')}
        description={t('certificate.rehearsalAbout')}
        checked={rehearsal}
        onChange={(event) => setRehearsal(event.currentTarget.checked)}
      />
      {steps.length > 0 && (
        <ol className={classes.steps} aria-live="polite">
          {steps.map((step) => (
            <li key={`${step.at_ms} ${step.text}`}>
              <Status tone={step.state === 'failed' ? 'bad' : step.state === 'done' ? 'good' : 'calm'} plain>
                {t(`certificate.step.${step.state}`)}
              </Status>{' '}
              {step.text}
            </li>
          ))}
        </ol>
      )}
      {running && (
        <Text size="sm" role="status">
          <Loader size="xs" mr="xs" /> {t('certificate.asking')}
        </Text>
      )}
      <Failure text={problemText(problem)} />
      <Group>
        <Button
          loading={running}
          disabled={!authority.accept_terms || authority.is_asked}
          onClick={() => begin({ staging_only: rehearsal })}
        >
          {t('certificate.ask')}
        </Button>
      </Group>
    </Stack>
  );
}

/** What came of earlier attempts. */
function Past({ authority }: { authority: Authority }) {
  const { t } = useTranslation();
  return (
    <dl className={classes.facts}>
      <div>
        <dt>{t('certificate.lastIssued')}</dt>
        <dd>
          <Ago at={authority.last_issued_at} none={t('common.never')} />
        </dd>
      </div>
      {authority.last_error && (
        <div>
          <dt>{t('certificate.lastError')}</dt>
          <dd>
            <Ago at={authority.last_attempt_at} />
            <p className="dim">{authority.last_error}</p>
          </dd>
        </div>
      )}
    </dl>
  );
}
