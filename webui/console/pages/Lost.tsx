import { Button, Center, Stack, Text, Title } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

/** There is no such page, or a page could not be drawn (after an upgrade its parts have other names: load it anew). */
export function Lost({ failed }: { failed?: boolean }) {
  const { t } = useTranslation();
  return (
    <Center mih="60dvh" component={failed ? 'main' : 'div'}>
      <Stack align="center" gap="sm">
        <Title order={1} size="h3">
          {failed ? t('lost.failed') : t('lost.title')}
        </Title>
        <Text c="dimmed">{failed ? t('lost.failedText') : t('lost.text')}</Text>
        {failed ? (
          <Button onClick={() => location.reload()}>{t('lost.reload')}</Button>
        ) : (
          <Button component={Link} to="/">
            {t('lost.home')}
          </Button>
        )}
      </Stack>
    </Center>
  );
}
