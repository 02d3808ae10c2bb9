import { Alert, Anchor } from '@mantine/core';
import { IconKey } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import { useSession } from '../api/session';

/** Somebody else knows the password: until it is changed, every page says so. */
export function PasswordNote() {
  const { t } = useTranslation();
  const session = useSession().data;
  if (!session?.password_is_given) return null;
  return (
    <Alert color="orange" variant="light" icon={<IconKey size={18} />} maw={1320} mx="auto" mb="lg">
      {t('account.given')}{' '}
      <Anchor component={Link} to="/account" size="sm">
        {t('account.changeNow')}
      </Anchor>
    </Alert>
  );
}
