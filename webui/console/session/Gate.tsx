// What stands in front of the console: the mark, one card, the language.

import { nameOf } from '@common/language/language';
import { Stack, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';
import { useTranslation } from 'react-i18next';
import { languages, speak } from '../languages';
import { Mark } from '../layout/Mark';
import classes from './Gate.module.css';

export function Gate({ title, children }: { title: string; children: ReactNode }) {
  const { t, i18n } = useTranslation();
  useEffect(() => {
    document.title = `${title} · Postern`;
  }, [title]);
  return (
    <div className={classes.place}>
      <main className={classes.column}>
        <div className={classes.mark}>
          <Mark />
          <span className={classes.product}>{t('signIn.product')}</span>
        </div>
        <div className={classes.card}>
          <Stack gap="md">
            <Title order={1} className={classes.title}>
              {title}
            </Title>
            {children}
          </Stack>
        </div>
        <nav className={classes.languages} aria-label={t('user.language')}>
          {languages.map((code) => (
            <button
              key={code}
              type="button"
              lang={code}
              className={classes.language}
              aria-current={i18n.language === code}
              onClick={() => void speak(code)}
            >
              {nameOf(code)}
            </button>
          ))}
        </nav>
      </main>
    </div>
  );
}
