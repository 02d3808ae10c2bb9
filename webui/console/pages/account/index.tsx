// One's own account.

import { Page as Frame } from '@common/components/Page';
import { useTranslation } from 'react-i18next';
import { useSession } from '../../api/session';
import { Password } from './Password';
import { SecondFactor } from './SecondFactor';
import { Sessions } from './Sessions';

export function Page() {
  const { t } = useTranslation();
  const session = useSession().data;
  if (!session) return null;
  return (
    <Frame title={t('nav.account')} about={t('account.about', { name: session.name, role: t(`role.${session.role}`) })}>
      <SecondFactor session={session} />
      <Password session={session} />
      <Sessions />
    </Frame>
  );
}
