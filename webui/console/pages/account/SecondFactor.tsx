import { Panel } from '@common/components/Panel';
import { SecretDialog } from '@common/components/SecretDialog';
import { Status } from '@common/components/Status';
import { useToasts } from '@common/components/Toasts';
import { Button, Group } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useRemoveTotp, useRenewRecoveryCodes } from '../../api/account';
import type { SessionInfo } from '../../api/schema';
import classes from './Account.module.css';
import { AskPassword } from './AskPassword';
import { SetUpTotp } from './SetUpTotp';

type Step = 'set-up' | 'remove' | 'renew';

/** One-time passwords and recovery codes. */
export function SecondFactor({ session }: { session: SessionInfo }) {
  const { t } = useTranslation();
  const toasts = useToasts();
  const remove = useRemoveTotp();
  const renew = useRenewRecoveryCodes();
  const [step, setStep] = useState<Step | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const on = session.second_factors.includes('totp');
  const close = () => setStep(null);
  const removed = () => {
    close();
    toasts.done(t('totp.removed'));
  };
  const made = (answer: { codes: string[] }) => {
    close();
    setCodes(answer.codes);
  };
  return (
    <Panel title={t('totp.title')} about={t('totp.about')}>
      <div className={classes.factor}>
        <div>
          <Group gap="sm">
            <b>{t('totp.app')}</b>
            <Status tone={on ? 'good' : 'warn'}>{on ? t('people.on') : t('people.off')}</Status>
          </Group>
          <p>{on ? t('totp.codesLeft', { count: session.recovery_codes }) : t('totp.offAbout')}</p>
        </div>
        <Group gap="sm">
          {on ? (
            <>
              <Button variant="default" onClick={() => setStep('renew')}>
                {t('totp.renew')}
              </Button>
              <Button variant="default" c="red" onClick={() => setStep('remove')}>
                {t('totp.remove')}
              </Button>
            </>
          ) : (
            <Button onClick={() => setStep('set-up')}>{t('totp.setUp')}</Button>
          )}
        </Group>
      </div>
      <SetUpTotp opened={step === 'set-up'} onClose={close} onCodes={(all) => made({ codes: all })} />
      <AskPassword
        title={t('totp.remove')}
        text={t('totp.removeText')}
        opened={step === 'remove'}
        onClose={close}
        ask={remove}
        onPassword={(password) => remove.mutate(password, { onSuccess: removed })}
      />
      <AskPassword
        title={t('totp.renew')}
        text={t('totp.renewText')}
        opened={step === 'renew'}
        onClose={close}
        ask={renew}
        onPassword={(password) => renew.mutate(password, { onSuccess: made })}
      />
      <SecretDialog
        title={t('totp.codesTitle')}
        secrets={codes ? [{ label: t('totp.codes'), text: codes.join(' ') }] : null}
        warning={t('totp.codesWarning')}
        agreement={t('totp.codesStored')}
        onDone={() => setCodes(null)}
      />
    </Panel>
  );
}
