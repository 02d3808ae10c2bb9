import { Panel } from '@common/components/Panel';
import { useToasts } from '@common/components/Toasts';
import { SegmentedControl } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { useProblemText } from '../../api/problem';
import { useLogLevel } from '../../api/settings';
import classes from './Settings.module.css';

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];

/** How much is logged, until the gateway ends. */
export function LogLevel({ level }: { level: string | null }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const toasts = useToasts();
  const set = useLogLevel();
  const change = (value: string) =>
    set.mutate(value, {
      onSuccess: () => toasts.done(t('settings.levelSet', { level: value })),
      onError: (error) => toasts.failed(problemText(error) ?? ''),
    });
  return (
    <Panel>
      <div className={classes.level}>
        <div>
          <b>{t('settings.logLevel')}</b>
          <p>{t('settings.logLevelAbout')}</p>
        </div>
        <SegmentedControl
          size="xs"
          aria-label={t('settings.logLevel')}
          value={level ?? ''}
          onChange={change}
          data={LEVELS}
        />
      </div>
    </Panel>
  );
}
