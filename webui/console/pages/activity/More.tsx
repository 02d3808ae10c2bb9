import { Button, Center } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import classes from './Activity.module.css';

interface MoreProps {
  query: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown };
}

/** Older entries, on request. */
export function More({ query }: MoreProps) {
  const { t } = useTranslation();
  if (!query.hasNextPage) return null;
  return (
    <Center className={classes.more ?? ''}>
      <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
        {t('activity.older')}
      </Button>
    </Center>
  );
}
