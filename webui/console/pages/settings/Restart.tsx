import { Ask } from '@common/components/Ask';
import { Alert, Button, Loader, Modal, Stack, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconRefresh } from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import { setSession } from '../../api/session';
import { answersAgain, useRestart } from '../../api/settings';

/** Restarts the gateway, waits for it, and goes on to the sign-in page. */
export function Restart({ pending }: { pending: boolean }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const restart = useRestart();
  const [asking, ask] = useDisclosure();
  const [waiting, setWaiting] = useState(false);
  const begin = () => {
    ask.close();
    setWaiting(true);
  };
  return (
    <>
      <Button variant={pending ? 'filled' : 'default'} leftSection={<IconRefresh size={16} />} onClick={ask.open}>
        {t('settings.restart')}
      </Button>
      <Ask
        title={t('settings.restartTitle')}
        opened={asking}
        onClose={ask.close}
        onConfirm={() => restart.mutate(undefined, { onSuccess: begin })}
        confirm={t('settings.restart')}
        busy={restart.isPending}
        problem={problemText(restart.error)}
      >
        {t('settings.restartText')}
      </Ask>
      <Modal opened={waiting} onClose={() => undefined} withCloseButton={false} title={t('settings.restarting')}>
        {waiting && <Waiting />}
      </Modal>
    </>
  );
}

const PATIENCE_MS = 30_000;

function Waiting() {
  const { t } = useTranslation();
  const [long, setLong] = useState(false);
  useEffect(() => {
    const leaving = new AbortController();
    const timer = setTimeout(() => setLong(true), PATIENCE_MS);
    answersAgain(leaving.signal).then(
      () => setSession(null),
      () => undefined,
    );
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, []);
  return (
    <Stack gap="md" role="status">
      <Text size="sm">
        <Loader size="xs" mr="xs" /> {t('settings.restartingText')}
      </Text>
      {long && <Alert color="orange">{t('settings.restartLong')}</Alert>}
    </Stack>
  );
}
