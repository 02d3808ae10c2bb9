// Another certificate: made here, imported, or asked for at an authority. When its source is a new one, the configuration
// is changed next.

import { Panel } from '@common/components/Panel';
import { useToasts } from '@common/components/Toasts';
import { Tabs } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import type { Authority, StoredCertificate } from '../../api/schema';
import { Import } from './Import';
import { Asking } from './Order';
import { SelfSigned } from './SelfSigned';

interface ReplaceProps {
  authority: Authority;
  onChanges: (changes: Record<string, unknown>) => void;
}

export function Replace({ authority, onChanges }: ReplaceProps) {
  const { t } = useTranslation();
  const toasts = useToasts();
  const stored = ({ served, changes }: StoredCertificate) => {
    toasts.done(t(served ? 'certificate.servedNow' : 'certificate.stored'));
    if (Object.keys(changes).length > 0) onChanges(changes);
  };
  return (
    <Panel title={t('certificate.new')} about={t('certificate.newAbout')}>
      <Tabs defaultValue="import" maw={720}>
        <Tabs.List mb="lg">
          <Tabs.Tab value="import">{t('certificate.import')}</Tabs.Tab>
          <Tabs.Tab value="acme">{t('certificate.ask')}</Tabs.Tab>
          <Tabs.Tab value="self-signed">{t('certificate.mode.self-signed')}</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="import">
          <Import onStored={stored} />
        </Tabs.Panel>
        <Tabs.Panel value="acme">
          <Asking authority={authority} onStored={stored} />
        </Tabs.Panel>
        <Tabs.Panel value="self-signed">
          <SelfSigned onStored={stored} />
        </Tabs.Panel>
      </Tabs>
    </Panel>
  );
}
