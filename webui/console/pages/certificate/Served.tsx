import { CopyButton } from '@common/components/Copy';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { useNow } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { useTranslation } from 'react-i18next';
import type { Overview } from '../../api/schema';
import classes from './Certificate.module.css';
import type { Mode } from './source';

const DAY_MS = 86_400_000;
const SOON_DAYS = 21;

/** The certificate that all ports serve at this moment. */
export function Served({ overview, mode }: { overview: Overview; mode: Mode | null }) {
  const { t } = useTranslation();
  const format = useFormat();
  const now = useNow();
  const expires = overview.certificate_expires ?? null;
  const days = expires === null ? null : Math.max(0, Math.floor((expires - now) / DAY_MS));
  const distrusted = overview.certificate_distrusted ?? null;
  return (
    <Panel title={t('certificate.served')} about={t('certificate.servedAbout')}>
      <dl className={classes.facts}>
        {mode && (
          <div>
            <dt>{t('certificate.source')}</dt>
            <dd>{t(`certificate.mode.${mode}`)}</dd>
          </div>
        )}
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
            {distrusted !== null && <p className="dim">{distrusted}</p>}
          </dd>
        </div>
        <div>
          <dt>{t('overview.fingerprint')}</dt>
          <dd className="mono">
            {overview.certificate_fingerprint}{' '}
            <CopyButton
              text={overview.certificate_fingerprint}
              label={t('common.copy', { what: t('overview.fingerprint') })}
            />
          </dd>
        </div>
      </dl>
    </Panel>
  );
}
