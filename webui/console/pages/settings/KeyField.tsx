import { Status } from '@common/components/Status';
import { useWord } from '@common/language/useWord';
import { ActionIcon, Switch, TagsInput, TextInput, Tooltip } from '@mantine/core';
import { IconArrowBackUp } from '@tabler/icons-react';
import { useId, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Key } from '../../api/schema';
import classes from './Settings.module.css';
import { kindOf, listOf, textOf, titleOf, typedValue } from './values';

interface KeyFieldProps {
  of: Key;
  changed: boolean;
  /** What it will be; `null` for its default. */
  value: unknown;
  changeable: boolean;
  onChange: (value: unknown) => void;
}

/** A key: what it means, what it is, who has set it. */
export function KeyField({ of, changed, value, changeable, onChange }: KeyFieldProps) {
  const { t } = useTranslation();
  const word = useWord();
  const id = useId();
  const isSet = value !== null && value !== undefined;
  return (
    <div className={classes.key} data-changed={changed || undefined}>
      <div className={classes.words}>
        <div className={classes.name}>
          <label htmlFor={id}>
            {titleOf(word, of.key)} <code className={classes.code}>{of.key}</code>
          </label>
          {of.source === 'environment' && (
            <Status tone="warn" plain>
              {t('settings.environment')}
            </Status>
          )}
          {of.source === 'file' && (
            <Status tone="info" plain>
              {t('settings.inFile')}
            </Status>
          )}
          {changed && (
            <Status tone="good" plain>
              {t('settings.changed')}
            </Status>
          )}
        </div>
        <p id={`${id}-about`}>{of.description}</p>
      </div>
      <div className={classes.control}>
        <Control id={id} of={of} value={value} changeable={changeable} onChange={onChange} />
        {changeable && isSet && (
          <Tooltip label={t('settings.toDefault')}>
            <ActionIcon
              variant="subtle"
              color="gray"
              aria-label={t('settings.toDefaultOf', { key: of.key })}
              onClick={() => onChange(null)}
            >
              <IconArrowBackUp size={16} />
            </ActionIcon>
          </Tooltip>
        )}
      </div>
    </div>
  );
}

function Control({ id, of, value, changeable, onChange }: Omit<KeyFieldProps, 'changed'> & { id: string }) {
  const { t } = useTranslation();
  const kind = kindOf(of);
  const [typed, setTyped] = useState<string | null>(null);
  const common = { id, disabled: !changeable, 'aria-describedby': `${id}-about` };
  const fallback = textOf(of.default) || t('settings.nothing');
  if (kind === 'switch') {
    return (
      <Switch
        {...common}
        checked={Boolean(value ?? of.default)}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
    );
  }
  if (kind === 'list') {
    const list = listOf(value);
    return (
      <TagsInput
        {...common}
        className={classes.input ?? ''}
        value={list}
        placeholder={value === null || value === undefined ? listOf(of.default).join(', ') || t('settings.none') : ''}
        splitChars={[',', ' ']}
        acceptValueOnBlur
        classNames={{ input: 'mono' }}
        onChange={(next) => onChange(next.map((one) => one.trim()).filter((one) => one !== ''))}
      />
    );
  }
  const shown = typed !== null && value === undefined ? typed : textOf(value);
  return (
    <TextInput
      {...common}
      className={classes.input ?? ''}
      classNames={{ input: 'mono' }}
      value={shown}
      placeholder={fallback}
      error={value === undefined && typed !== null ? t('policy.noNumber') : null}
      inputMode={kind === 'number' ? 'numeric' : 'text'}
      spellCheck={false}
      autoComplete="off"
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        onChange(typedValue(kind, event.currentTarget.value));
      }}
    />
  );
}
