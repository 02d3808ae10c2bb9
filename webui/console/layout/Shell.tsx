// The frame of every page: navigation at the side (on a phone behind a button), who is signed in above.
import { AppShell, Burger, Group, Skeleton, Stack } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Suspense, useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Outlet, useLocation } from 'react-router';
import { Fallback } from './Fallback';
import { Mark } from './Mark';
import { Navigation } from './Navigation';
import { PasswordNote } from './PasswordNote';
import classes from './Shell.module.css';
import { UserMenu } from './UserMenu';

export function Shell() {
  const { t } = useTranslation();
  const [opened, { toggle, close }] = useDisclosure();
  const { pathname } = useLocation();
  const main = useRef<HTMLElement>(null);
  const before = useRef(pathname);
  useEffect(() => {
    close();
    // Another page is read from its beginning, by screen readers too.
    if (before.current !== pathname) main.current?.focus();
    before.current = pathname;
  }, [pathname, close]);
  return (
    <AppShell
      header={{ height: 54 }}
      navbar={{ width: 228, breakpoint: 'md', collapsed: { mobile: !opened } }}
      padding={{ base: 'md', sm: 'xl' }}
      layout="alt"
    >
      <a href="#main" className={classes.skip}>
        {t('common.skip')}
      </a>
      <AppShell.Header className={classes.header}>
        <Group h="100%" px={{ base: 'md', sm: 'xl' }} justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger
              opened={opened}
              onClick={toggle}
              hiddenFrom="md"
              size="sm"
              aria-label={t('nav.open')}
              aria-expanded={opened}
            />
            <span className={classes.small}>
              <Mark />
            </span>
          </Group>
          <UserMenu />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar className={classes.side} aria-label={t('nav.label')}>
        <div className={classes.brand}>
          <Mark />
          <Burger opened={opened} onClick={toggle} hiddenFrom="md" size="sm" aria-label={t('nav.close')} />
        </div>
        <Navigation />
      </AppShell.Navbar>
      <AppShell.Main id="main" ref={main} tabIndex={-1} className={classes.main}>
        <PasswordNote />
        <Fallback of={pathname}>
          <Suspense fallback={<Waiting />}>
            <Outlet />
          </Suspense>
        </Fallback>
      </AppShell.Main>
    </AppShell>
  );
}

function Waiting() {
  return (
    <Stack gap="lg" maw={1320} mx="auto">
      <Skeleton height={28} width={220} />
      <Skeleton height={240} />
    </Stack>
  );
}
