import { useToasts } from '@common/components/Toasts';
import { Button } from '@mantine/core';
import { IconFileImport } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import type { Reloaded } from '../../api/schema';
import { useReload } from '../../api/settings';

/** Reads the configuration again, and the certificate's files: for who has changed them on the gateway's machine. */
export function Reload() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const reload = useReload();
  const told = ({ changed, needs_restart, certificate_changed, certificate_trouble }: Reloaded) => {
    const sentences = [
      changed.length > 0 ? t('settings.reloadChanged', { keys: changed.join(', ') }) : null,
      certificate_changed ? t('certificate.servedNow') : null,
      needs_restart.length > 0 ? t('settings.reloadWaits', { keys: needs_restart.join(', ') }) : null,
    ].filter((sentence) => sentence !== null);
    toasts.done(sentences.length > 0 ? sentences.join(' ') : t('settings.reloadNothing'));
    if (certificate_trouble) toasts.failed(`${t('certificate.trouble')}: ${certificate_trouble}`);
  };
  return (
    <Button
      variant="default"
      leftSection={<IconFileImport size={16} />}
      loading={reload.isPending}
      onClick={() =>
        reload.mutate(undefined, { onSuccess: told, onError: (error) => toasts.failed(problemText(error) ?? '') })
      }
    >
      {t('settings.reload')}
    </Button>
  );
}
