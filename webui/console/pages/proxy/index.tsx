// The proxy for mail clients: whether one gets through to its server, and whose accounts are bound at a provider.

import { Page as Frame } from '@common/components/Page';
import { Tabs } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { Bindings } from './Bindings';
import { Way } from './Way';

export function Page() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const tab = search.get('tab') === 'accounts' ? 'accounts' : 'way';
  return (
    <Frame title={t('nav.proxy')} about={t(tab === 'way' ? 'way.about' : 'binding.about')}>
      <Tabs
        value={tab}
        onChange={(value) => setSearch(value === 'accounts' ? { tab: 'accounts' } : {}, { replace: true })}
        keepMounted={false}
      >
        <Tabs.List mb="lg">
          <Tabs.Tab value="way">{t('way.title')}</Tabs.Tab>
          <Tabs.Tab value="accounts">{t('binding.title')}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="way">
          <Way />
        </Tabs.Panel>
        <Tabs.Panel value="accounts">
          <Bindings />
        </Tabs.Panel>
      </Tabs>
    </Frame>
  );
}
