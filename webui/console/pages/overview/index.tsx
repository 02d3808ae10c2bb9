// The gateway at a glance, live.

import { Failure } from '@common/components/Ask';
import { Chart } from '@common/components/Chart';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { useFormat } from '@common/format/useFormat';
import { SegmentedControl, SimpleGrid, Skeleton } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { type Span, useOverview } from '../../api/overview';
import { useProblemText } from '../../api/problem';
import type { Course } from '../../api/schema';
import { coarser } from './coarser';
import { Facts } from './Facts';
import { Listeners } from './Listeners';
import { Refusals } from './Refusals';
import { Tiles } from './Tiles';
import { Warnings } from './Warnings';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [span, setSpan] = useState<Span>('hour');
  const { data, error, live } = useOverview(span);
  const liveState = (
    <Status tone={live ? 'good' : 'calm'}>{live ? t('overview.live') : t('overview.connecting')}</Status>
  );
  return (
    <Frame title={t('nav.overview')} beside={liveState}>
      <Failure text={data ? null : problemText(error)} />
      {data ? (
        <>
          <Warnings warnings={data.overview.warnings} />
          <Tiles overview={data.overview} course={data.course} />
          <Panel
            title={t('overview.traffic')}
            about={t('overview.trafficAbout')}
            aside={
              <SegmentedControl
                size="xs"
                aria-label={t('overview.span')}
                value={span}
                onChange={(value) => setSpan(value as Span)}
                data={[
                  { value: 'hour', label: t('overview.hour') },
                  { value: 'day', label: t('overview.day') },
                ]}
              />
            }
          >
            <Traffic course={data.course} />
          </Panel>
          <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={20}>
            <Listeners listeners={data.overview.listeners} />
            <Refusals refusals={data.overview.refusals} />
          </SimpleGrid>
          <Facts overview={data.overview} />
        </>
      ) : (
        <Skeleton height={420} radius="lg" />
      )}
    </Frame>
  );
}

function Traffic({ course }: { course: Course }) {
  const { t } = useTranslation();
  const format = useFormat();
  const points = coarser(course);
  const perSecond = (count: number) => count / points.seconds;
  return (
    <Chart
      label={t('overview.traffic')}
      times={points.points.map((point) => point.at * 1000)}
      formatTime={format.clockTime}
      formatValue={format.rate}
      series={[
        {
          id: 'in',
          title: t('overview.accepted'),
          colour: 'var(--series-1)',
          values: points.points.map((point) => perSecond(point.accepted)),
          filled: true,
        },
        {
          id: 'out',
          title: t('overview.served'),
          colour: 'var(--series-2)',
          values: points.points.map((point) => perSecond(point.served)),
        },
        {
          id: 'refused',
          title: t('overview.refused'),
          colour: 'var(--series-3)',
          values: points.points.map((point) => perSecond(point.refused)),
        },
      ]}
    />
  );
}
