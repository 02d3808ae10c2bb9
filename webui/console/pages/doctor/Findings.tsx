import { useWord } from '@common/language/useWord';
import { IconAlertTriangle, IconArrowRight, IconCircleCheck, IconCircleX } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import type { Finding, Verdict } from '../../api/schema';
import classes from './Findings.module.css';

const ICONS: Record<Verdict, typeof IconCircleCheck> = {
  ok: IconCircleCheck,
  warn: IconAlertTriangle,
  fail: IconCircleX,
};

/** What was looked at, what was found, and what to do about it. The gateway's own sentences are in English. */
export function Findings({ findings, label }: { findings: (Finding & { at_ms?: number })[]; label: string }) {
  const { t } = useTranslation();
  const word = useWord();
  return (
    <ol className={classes.list} aria-label={label} aria-live="polite">
      {findings.map(({ check, verdict, found, advice, at_ms }) => {
        const Icon = ICONS[verdict];
        return (
          <li key={`${check} ${found}`} className={classes.finding} data-verdict={verdict}>
            <Icon size={20} stroke={1.7} aria-hidden />
            <div className={classes.words}>
              <span className={classes.check}>{word('check', check)}</span>
              <span className="unseen"> ({t(`verdict.${verdict}`)})</span>
              <p className={classes.found} lang="en">
                {found}
              </p>
              {advice && (
                <p className={classes.advice} lang="en">
                  <IconArrowRight size={15} stroke={2} aria-hidden /> {advice}
                </p>
              )}
            </div>
            {at_ms !== undefined && <span className={classes.time}>{at_ms} ms</span>}
          </li>
        );
      })}
    </ol>
  );
}
