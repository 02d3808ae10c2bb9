import { Group, Title } from '@mantine/core';
import { type ReactNode, useEffect } from 'react';
import classes from './Page.module.css';

interface PageProps {
  title: string;
  /** What stands above the title: the way back. */
  above?: ReactNode;
  /** Beside the title. */
  beside?: ReactNode;
  actions?: ReactNode;
  about?: ReactNode;
  children: ReactNode;
}

/** A page: its title (also the browser's), its actions, its content. */
export function Page({ title, above, beside, actions, about, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Postern`;
  }, [title]);
  return (
    <div className={classes.page}>
      <header className={classes.head}>
        <div className={classes.words}>
          {above}
          <Group gap="sm" wrap="wrap">
            <Title order={1} className={classes.title}>
              {title}
            </Title>
            {beside}
          </Group>
          {about && <p className={classes.about}>{about}</p>}
        </div>
        {actions && <div className={classes.actions}>{actions}</div>}
      </header>
      {children}
    </div>
  );
}
