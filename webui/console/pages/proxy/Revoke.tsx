import { Ask } from '@common/components/Ask';
import { useToasts } from '@common/components/Toasts';
import { Button } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useTranslation } from 'react-i18next';
import { useRevoke } from '../../api/care';
import { useProblemText } from '../../api/problem';

/** Ends a binding, or forgets that there was one. */
export function Revoke({ account, forget = false }: { account: string; forget?: boolean }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const revoke = useRevoke();
  const [asking, ask] = useDisclosure();
  const word = forget ? 'forget' : 'revoke';
  const confirm = () =>
    revoke.mutate(
      { user: account, forget },
      {
        onSuccess: ({ consent_page }) => {
          ask.close();
          toasts.done(
            consent_page
              ? t('binding.takeBack', { account, page: consent_page })
              : t(`binding.${word}Done`, { account }),
          );
        },
      },
    );
  return (
    <>
      <Button
        variant="subtle"
        color="red"
        size="compact-sm"
        aria-label={t(`binding.${word}Of`, { account })}
        onClick={ask.open}
      >
        {t(`binding.${word}`)}
      </Button>
      <Ask
        title={t(`binding.${word}Of`, { account })}
        opened={asking}
        onClose={ask.close}
        onConfirm={confirm}
        confirm={t(`binding.${word}`)}
        busy={revoke.isPending}
        problem={problemText(revoke.error)}
        dangerous
      >
        {t(`binding.${word}Text`)}
      </Ask>
    </>
  );
}
