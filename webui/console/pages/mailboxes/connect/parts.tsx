import { CopyField } from '@common/components/Copy';
import { Fragment, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import type { Connect, Entry } from '../../../api/schema';
import classes from './Connect.module.css';

export interface WayProps {
  facts: Connect;
}

export function Steps({ children }: { children: ReactNode }) {
  return <ol className={classes.steps}>{children}</ol>;
}

export function Step({ text, children }: { text: string; children?: ReactNode }) {
  return (
    <li className={classes.step}>
      {text}
      {children && <div>{children}</div>}
    </li>
  );
}

export function Fields({ fields }: { fields: [label: string, value: string][] }) {
  const { t } = useTranslation();
  return (
    <dl className={classes.fields}>
      {fields.map(([label, value]) => (
        <Fragment key={label}>
          <dt>{label}</dt>
          <dd>
            <CopyField text={value} label={t('common.copy', { what: label })} />
          </dd>
        </Fragment>
      ))}
    </dl>
  );
}

/** The entries, those that begin with TLS first. */
export function bySafety(entries: Entry[]): Entry[] {
  return [...entries].sort((one, other) => Number(other.tls === 'implicit') - Number(one.tls === 'implicit'));
}

/** A port and its security in words. */
export function usePortText() {
  const { t } = useTranslation();
  return (entry: Entry) =>
    `${entry.port} · ${entry.tls === 'implicit' ? t('connect.implicit') : t('connect.starttls')}`;
}
