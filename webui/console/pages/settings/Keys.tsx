import { Panel } from '@common/components/Panel';
import { useWord } from '@common/language/useWord';
import { Anchor, Button, Group, TextInput } from '@mantine/core';
import { IconSearch } from '@tabler/icons-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Configuration, ConfigurationChange, Key } from '../../api/schema';
import { KeyField } from './KeyField';
import classes from './Settings.module.css';
import { same, tableOf, titleOf } from './values';

interface KeysProps {
  configuration: Configuration;
  changeable: boolean;
  onChange: (change: ConfigurationChange) => void;
}

/** Every key, table by table; changes are gathered and checked together. */
export function Keys({ configuration, changeable, onChange }: KeysProps) {
  const { t } = useTranslation();
  const word = useWord();
  const [changes, setChanges] = useState<Record<string, unknown>>({});
  const [text, setText] = useState('');
  const tables = byTable(configuration.keys, text, (key) => titleOf(word, key));
  const count = Object.keys(changes).length;
  const broken = Object.values(changes).some((value) => value === undefined);
  const set = (key: Key, value: unknown) =>
    setChanges((before) => {
      const { [key.key]: _, ...others } = before;
      const asItIs = key.source === 'file' ? key.value : null;
      return value !== undefined && same(value, asItIs) ? others : { ...others, [key.key]: value };
    });
  const title = (table: string) => word('settings.tables', table);
  return (
    <div className={classes.layout}>
      <nav className={classes.index} aria-label={t('settings.tablesLabel')}>
        <TextInput
          type="search"
          size="xs"
          aria-label={t('settings.search')}
          placeholder={t('settings.search')}
          leftSection={<IconSearch size={14} />}
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <div className={classes.links}>
          {tables.map(([table]) => (
            <Anchor key={table} href={`#${table}`} size="sm" underline="hover">
              {title(table)}
            </Anchor>
          ))}
        </div>
      </nav>
      <div className={classes.tables}>
        {tables.length === 0 && <p className="dim">{t('settings.notFound')}</p>}
        {tables.map(([table, keys]) => (
          <div key={table} id={table} className={classes.table}>
            <Panel title={title(table)} flush>
              {keys.map((key) => (
                <KeyField
                  key={key.key}
                  of={key}
                  changed={key.key in changes}
                  value={key.key in changes ? changes[key.key] : key.source === 'default' ? null : key.value}
                  changeable={changeable && key.source !== 'environment' && key.key !== 'data_dir'}
                  onChange={(value) => set(key, value)}
                />
              ))}
            </Panel>
          </div>
        ))}
        {count > 0 && (
          <section className={classes.bar} aria-label={t('settings.pending')}>
            <span role="status">{t('settings.changes', { count })}</span>
            <Group gap="sm">
              <Button variant="default" onClick={() => setChanges({})}>
                {t('common.discard')}
              </Button>
              <Button
                disabled={broken}
                onClick={() =>
                  onChange({ changes: changes as Record<string, never>, revision: configuration.revision })
                }
              >
                {t('settings.check')}
              </Button>
            </Group>
          </section>
        )}
      </div>
    </div>
  );
}

function byTable(keys: Key[], text: string, title: (key: string) => string): [string, Key[]][] {
  const wanted = text.trim().toLowerCase();
  const tables = new Map<string, Key[]>();
  for (const key of keys) {
    if (!`${key.key} ${title(key.key)} ${key.description}`.toLowerCase().includes(wanted)) continue;
    const table = tableOf(key.key);
    tables.set(table, [...(tables.get(table) ?? []), key]);
  }
  return [...tables];
}
