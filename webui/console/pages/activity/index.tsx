// What happened, and who changed what.

import { Page as Frame } from '@common/components/Page';
import { Tabs } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { useMay } from '../../api/session';
import { Audit } from './Audit';
import { Events } from './Events';

export function Page() {
  const { t } = useTranslation();
  const administrates = useMay('administrator');
  const [search, setSearch] = useSearchParams();
  const tab = search.get('tab') === 'audit' && administrates ? 'audit' : 'events';
  return (
    <Frame title={t('nav.activity')} about={t(tab === 'audit' ? 'audit.about' : 'activity.about')}>
      <Tabs
        value={tab}
        onChange={(value) => setSearch(value === 'audit' ? { tab: 'audit' } : {}, { replace: true })}
        keepMounted={false}
      >
        {administrates && (
          <Tabs.List mb="md">
            <Tabs.Tab value="events">{t('activity.title')}</Tabs.Tab>
            <Tabs.Tab value="audit">{t('audit.title')}</Tabs.Tab>
          </Tabs.List>
        )}
        <Tabs.Panel value="events">
          <Events />
        </Tabs.Panel>
        <Tabs.Panel value="audit">
          <Audit />
        </Tabs.Panel>
      </Tabs>
    </Frame>
  );
}
