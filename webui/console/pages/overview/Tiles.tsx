import type { Tone } from '@common/components/Status';
import { Ago, useNow } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { SimpleGrid } from '@mantine/core';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Course, Overview, Point } from '../../api/schema';
import classes from './Tiles.module.css';

const DAY_MS = 86_400_000;
const SOON_DAYS = 21;

export function Tiles({ overview, course }: { overview: Overview; course: Course }) {
  const { t } = useTranslation();
  const format = useFormat();
  const now = useNow();
  const recent = lastMinute(course);
  const rate = (of: (point: Point) => number) =>
    recent.reduce((sum, point) => sum + of(point), 0) / spanOf(recent, course);
  const disk = overview.warnings.find((warning) => warning.code === 'disk')?.severity;
  const expires = overview.certificate_expires ?? null;
  const days = expires === null ? null : Math.floor((expires - now) / DAY_MS);
  return (
    <SimpleGrid cols={{ base: 2, sm: 3, xl: 6 }} spacing={{ base: 10, sm: 14 }}>
      <Tile
        title={t('overview.intake')}
        value={format.rate(rate((point) => point.accepted))}
        unit={t('overview.perSecond')}
      >
        {t('overview.sinceStart', { count: overview.totals.accepted, shown: format.number(overview.totals.accepted) })}
      </Tile>
      <Tile
        title={t('overview.pull')}
        value={format.rate(rate((point) => point.served))}
        unit={t('overview.perSecond')}
      >
        {t('overview.sinceStart', { count: overview.totals.served, shown: format.number(overview.totals.served) })}
      </Tile>
      <Tile title={t('overview.waiting')} value={format.number(overview.messages)} testId="waiting">
        {overview.oldest ? (
          <>
            {format.bytes(overview.bytes)} · {t('overview.oldest')} <Ago at={overview.oldest} />
          </>
        ) : (
          t('overview.allPulled')
        )}
      </Tile>
      <Tile title={t('overview.mailboxes')} value={format.number(overview.mailboxes)}>
        {t('overview.uptime', { time: format.duration(overview.uptime_seconds) })}
      </Tile>
      <Tile
        title={t('overview.disk')}
        value={overview.free_bytes ? format.bytes(overview.free_bytes) : '–'}
        tone={disk === 'critical' ? 'bad' : disk ? 'warn' : undefined}
      >
        {t('overview.diskFree')}
      </Tile>
      <Tile
        title={t('overview.certificate')}
        value={days === null ? '–' : t('overview.days', { count: Math.max(0, days) })}
        tone={days === null ? undefined : days <= 0 ? 'bad' : days < SOON_DAYS ? 'warn' : undefined}
      >
        {overview.certificate_distrusted ? t('overview.distrusted') : t('overview.trusted')}
      </Tile>
    </SimpleGrid>
  );
}

interface TileProps {
  title: string;
  value: string;
  unit?: string;
  tone?: Tone | undefined;
  testId?: string;
  children: ReactNode;
}

function Tile({ title, value, unit, tone, testId, children }: TileProps) {
  return (
    <dl className={classes.tile} data-tone={tone}>
      <dt className={classes.title}>{title}</dt>
      <dd className={classes.value} data-testid={testId}>
        {value}
        {unit && <span className={classes.unit}> {unit}</span>}
      </dd>
      <dd className={classes.more}>{children}</dd>
    </dl>
  );
}

function lastMinute(course: Course): Point[] {
  // The last point is not full yet.
  const whole = course.points.slice(0, -1);
  return whole.slice(-Math.max(1, Math.round(60 / course.seconds)));
}

function spanOf(points: Point[], course: Course): number {
  return Math.max(1, points.length) * course.seconds;
}
