import { Center, Loader } from '@mantine/core';
import { useTranslation } from 'react-i18next';

/** Until it is known what to show. */
export function Waiting() {
  const { t } = useTranslation();
  return (
    <Center mih="100dvh">
      <Loader aria-label={t('common.loading')} />
    </Center>
  );
}
