import { useWord } from '@common/language/useWord';
import { IconAlertOctagon, IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { Warning } from '../../api/schema';
import classes from './Warnings.module.css';
import { useWarningText } from './warningText';

/** What needs somebody, the gravest first. */
export function Warnings({ warnings }: { warnings: Warning[] }) {
  const { t } = useTranslation();
  const word = useWord();
  const warningText = useWarningText();
  if (warnings.length === 0) {
    return (
      <div className={classes.fine} role="status">
        <IconCircleCheck size={18} stroke={1.8} aria-hidden />
        {t('overview.allWell')}
      </div>
    );
  }
  return (
    <section className={classes.list} aria-label={t('overview.warnings')} aria-live="polite">
      {warnings.map((warning) => {
        const Icon = warning.severity === 'critical' ? IconAlertOctagon : IconAlertTriangle;
        return (
          <div
            key={`${warning.code} ${warning.mailbox ?? ''} ${warning.text}`}
            className={classes.warning}
            data-severity={warning.severity}
          >
            <Icon size={18} stroke={1.8} aria-hidden />
            <div>
              <b>{word('warning', warning.code)}</b>
              <span className={classes.text}>{warningText(warning)}</span>
            </div>
            {warning.mailbox && (
              <Link to={`/mailboxes/${warning.mailbox}`} className={classes.link}>
                {t('overview.toMailbox')}
              </Link>
            )}
          </div>
        );
      })}
    </section>
  );
}
