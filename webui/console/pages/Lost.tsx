import { Button, Center, Stack, Text, Title } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';

/** There is no such page. */
export function Lost() {
  const { t } = useTranslation();
  return (
    <Center mih="60dvh">
      <Stack align="center" gap="sm">
        <Title order={1} size="h3">
          {t('lost.title')}
        </Title>
        <Text c="dimmed">{t('lost.text')}</Text>
        <Button component={Link} to="/">
          {t('lost.home')}
        </Button>
      </Stack>
    </Center>
  );
}
