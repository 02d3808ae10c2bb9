import { CopyButton } from '@common/components/Copy';
import { useFormat } from '@common/format/useFormat';
import { useTranslation } from 'react-i18next';
import type { Overview } from '../../api/schema';
import classes from './Small.module.css';

/** What is asked for on the telephone. */
export function Facts({ overview }: { overview: Overview }) {
  const { t } = useTranslation();
  const format = useFormat();
  return (
    <dl className={classes.facts}>
      <div>
        <dt>{t('overview.version')}</dt>
        <dd>{overview.version}</dd>
      </div>
      {overview.certificate_expires ? (
        <div>
          <dt>{t('overview.certificateUntil')}</dt>
          <dd>{format.date(overview.certificate_expires)}</dd>
        </div>
      ) : null}
      <div>
        <dt>{t('overview.fingerprint')}</dt>
        <dd className="mono">{overview.certificate_fingerprint}</dd>
        <dd>
          <CopyButton
            text={overview.certificate_fingerprint}
            label={t('common.copy', { what: t('overview.fingerprint') })}
          />
        </dd>
      </div>
    </dl>
  );
}
