import { Failure } from '@common/components/Ask';
import { CopyBlock, CopyField } from '@common/components/Copy';
import { Alert, Button, Checkbox, Stack, Text } from '@mantine/core';
import { IconAlertTriangle, IconKey } from '@tabler/icons-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../api/problem';
import { usePasswordStored, useSignOut } from '../api/session';
import { Gate } from './Gate';

/** The password from now on. Nothing else can be done before it is said to be stored. */
export function FirstPassword({ password }: { password: string }) {
  const { t } = useTranslation();
  return (
    <Gate title={t('signIn.newPasswordTitle')}>
      <Text size="sm">{t('signIn.newPasswordText')}</Text>
      <div data-testid="new-password">
        <CopyField text={password} label={t('common.copy', { what: t('signIn.password') })} secret />
      </div>
      <Alert color="orange" variant="light" icon={<IconAlertTriangle size={18} />}>
        {t('signIn.newPasswordWarning')}
      </Alert>
      <Stored />
    </Gate>
  );
}

/** The page was left before the password was said to be stored: it is not shown again. */
export function PasswordGone() {
  const { t } = useTranslation();
  const signOut = useSignOut();
  return (
    <Gate title={t('signIn.goneTitle')}>
      <Alert variant="light" color="orange" icon={<IconKey size={18} />}>
        {t('signIn.goneText')}
      </Alert>
      <CopyBlock
        text="postern-gateway admin reset-password --name admin"
        label={t('common.copy', { what: t('common.command') })}
      />
      <Stored />
      <Button variant="default" onClick={() => signOut.mutate()}>
        {t('user.signOut')}
      </Button>
    </Gate>
  );
}

function Stored() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const stored = usePasswordStored();
  const [ticked, setTicked] = useState(false);
  return (
    <Stack gap="md">
      <Failure text={problemText(stored.error)} />
      <Checkbox
        label={t('signIn.stored')}
        checked={ticked}
        onChange={(event) => setTicked(event.currentTarget.checked)}
      />
      <Button size="md" disabled={!ticked} loading={stored.isPending} onClick={() => stored.mutate()}>
        {t('signIn.continue')}
      </Button>
    </Stack>
  );
}
