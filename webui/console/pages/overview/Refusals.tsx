import { Empty } from '@common/components/Empty';
import { Panel } from '@common/components/Panel';
import { useFormat } from '@common/format/useFormat';
import { useWord } from '@common/language/useWord';
import { IconShieldCheck } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import classes from './Small.module.css';

/** Refusals to senders since the start, the most frequent reason first. */
export function Refusals({ refusals }: { refusals: Record<string, number> }) {
  const { t } = useTranslation();
  const word = useWord();
  const format = useFormat();
  const reasons = Object.entries(refusals).sort((one, other) => other[1] - one[1]);
  const most = Math.max(1, ...reasons.map(([, count]) => count));
  return (
    <Panel title={t('overview.refusals')} about={t('overview.refusalsAbout')}>
      {reasons.length === 0 ? (
        <Empty icon={IconShieldCheck} title={t('overview.noRefusals')} />
      ) : (
        <dl className={classes.bars}>
          {reasons.map(([reason, count]) => (
            <div key={reason} className={classes.bar}>
              <dt>{word('refusal', reason)}</dt>
              <dd className="numbers">{format.number(count)}</dd>
              <dd className={classes.track} aria-hidden>
                <svg width="100%" height="6" aria-hidden>
                  <rect width="100%" height="6" rx="3" fill="var(--calm-soft)" />
                  <rect width={`${(count / most) * 100}%`} height="6" rx="3" fill="var(--series-3)" />
                </svg>
              </dd>
            </div>
          ))}
        </dl>
      )}
    </Panel>
  );
}
