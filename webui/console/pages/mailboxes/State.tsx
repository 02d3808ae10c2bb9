import { Chart } from '@common/components/Chart';
import { CopyField } from '@common/components/Copy';
import { Panel } from '@common/components/Panel';
import { Ago, useNow } from '@common/format/Ago';
import { useFormat } from '@common/format/useFormat';
import { Anchor, SimpleGrid } from '@mantine/core';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link } from 'react-router';
import type { MailboxRow } from '../../api/schema';
import classes from './State.module.css';

const HOUR_MS = 3_600_000;

/** What waits in a mailbox, and how the day went. */
export function State({ mailbox }: { mailbox: MailboxRow }) {
  const { t } = useTranslation();
  const format = useFormat();
  const now = useNow();
  const thisHour = Math.floor(now / HOUR_MS) * HOUR_MS;
  const recovery = mailbox.recovery ? t('mailboxes.recoveryYes') : t('mailboxes.recoveryNo');
  return (
    <div className={classes.parts}>
      <SimpleGrid cols={{ base: 1, lg: 2 }} spacing={20}>
        <Panel title={t('mailboxes.waitingTitle')}>
          <dl className={classes.facts}>
            <Fact title={t('mailboxes.messages')}>
              <b data-testid="messages">{format.number(mailbox.messages)}</b>
            </Fact>
            <Fact title={t('mailboxes.bytes')}>{format.bytes(mailbox.bytes)}</Fact>
            <Fact title={t('mailboxes.oldest')}>
              <Ago at={mailbox.oldest_at} />
            </Fact>
            <Fact title={t('mailboxes.lastDelivery')}>
              <Ago at={mailbox.last_delivery_at} none={t('common.never')} />
            </Fact>
            <Fact title={t('mailboxes.lastPull')}>
              <Ago at={mailbox.last_pull_at} none={t('common.never')} />
            </Fact>
            {mailbox.unconfirmed > 0 && (
              <Fact title={t('mailboxes.unconfirmed')}>{format.number(mailbox.unconfirmed)}</Fact>
            )}
          </dl>
        </Panel>
        <Panel title={t('mailboxes.identity')}>
          <div className={classes.address}>
            <CopyField text={mailbox.address} label={t('common.copy', { what: t('mailboxes.address') })} />
          </div>
          <dl className={classes.facts}>
            <Fact title={t('create.userName')}>
              <span className="mono">{mailbox.id}</span>
            </Fact>
            <Fact title={t('mailboxes.keyedAt')}>{format.dateTime(mailbox.keyed_at)}</Fact>
            <Fact title={t('create.recovery')}>{recovery}</Fact>
            <Fact title={t('nav.activity')}>
              <Anchor component={Link} to={`/activity?mailbox=${mailbox.id}`} size="sm">
                {t('mailboxes.toActivity')}
              </Anchor>
            </Fact>
          </dl>
        </Panel>
      </SimpleGrid>
      <Panel title={t('mailboxes.dayTitle')} about={t('mailboxes.dayAbout')}>
        <Chart
          label={t('mailboxes.dayTitle')}
          height={170}
          times={mailbox.hours.map((_, at) => thisHour - (mailbox.hours.length - 1 - at) * HOUR_MS)}
          formatTime={format.clockTime}
          formatValue={(value) => format.number(value, 1)}
          series={[
            {
              id: 'in',
              title: t('mailboxes.perHour'),
              colour: 'var(--series-1)',
              values: mailbox.hours,
              filled: true,
            },
          ]}
        />
      </Panel>
    </div>
  );
}

function Fact({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className={classes.fact}>
      <dt>{title}</dt>
      <dd>{children}</dd>
    </div>
  );
}
