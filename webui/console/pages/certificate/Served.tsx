import { CopyButton } from '@common/components/Copy';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { At, useNow } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { Alert } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import type { ServedCertificate } from '../../api/schema';
import classes from './Certificate.module.css';
import { MODES } from './source';

const DAY_MS = 86_400_000;
const SOON_DAYS = 21;

/** The certificate that all ports serve at this moment. */
export function Served({ certificate }: { certificate: ServedCertificate }) {
  const { t } = useTranslation();
  const format = useFormat();
  const now = useNow();
  const expires = certificate.expires_at ?? null;
  const days = expires === null ? null : Math.max(0, Math.floor((expires - now) / DAY_MS));
  const distrusted = certificate.distrusted ?? null;
  const [first] = certificate.chain;
  const signsItself = certificate.chain.length === 1 && first?.subject === first?.issuer;
  const source = MODES.find((mode) => mode === certificate.source);
  return (
    <Panel title={t('certificate.served')} about={t('certificate.servedAbout')}>
      {certificate.trouble && (
        <Alert color="orange" mb="md" icon={<IconAlertTriangle size={18} />} title={t('certificate.trouble')}>
          {certificate.trouble}
        </Alert>
      )}
      <dl className={classes.facts}>
        <div>
          <dt>{t('certificate.source')}</dt>
          <dd>{source ? t(`certificate.mode.${source}`) : certificate.source}</dd>
        </div>
        <div>
          <dt>{t('certificate.names')}</dt>
          <dd>
            {certificate.names.join(', ')}{' '}
            {!certificate.covers_host_name && <Status tone="warn">{t('certificate.otherHost')}</Status>}
          </dd>
        </div>
        {expires !== null && days !== null && (
          <div>
            <dt>{t('overview.certificateUntil')}</dt>
            <dd>
              {format.dateTime(expires)}{' '}
              <Status tone={days === 0 ? 'bad' : days < SOON_DAYS ? 'warn' : 'good'}>
                {t('overview.days', { count: days })}
              </Status>
            </dd>
          </div>
        )}
        <div>
          <dt>{t('certificate.trust')}</dt>
          <dd>
            <Status tone={distrusted === null ? 'good' : 'warn'}>
              {distrusted === null ? t('certificate.trusted') : t('certificate.distrusted')}
            </Status>
            {distrusted !== null && <p className="dim">{signsItself ? t('certificate.signsItself') : distrusted}</p>}
          </dd>
        </div>
        <div>
          <dt>{t('overview.fingerprint')}</dt>
          <dd className="mono">
            {certificate.fingerprint}{' '}
            <CopyButton text={certificate.fingerprint} label={t('common.copy', { what: t('overview.fingerprint') })} />
          </dd>
        </div>
        <div>
          <dt>{t('certificate.chain')}</dt>
          <dd>
            <ol className={classes.chain}>
              {certificate.chain.map((link) => (
                <li key={`${link.subject} ${link.issuer}`}>
                  {link.subject}
                  <p className="dim">
                    {t('certificate.issuedBy', { issuer: link.issuer })} · <At at={link.expires_at} />
                  </p>
                </li>
              ))}
            </ol>
            {!certificate.chain_in_order && <Status tone="warn">{t('certificate.chainBroken')}</Status>}
          </dd>
        </div>
      </dl>
    </Panel>
  );
}
