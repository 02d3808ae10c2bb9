import { type ReactNode, useId } from 'react';
import classes from './Panel.module.css';

interface PanelProps {
  title?: string;
  about?: ReactNode;
  aside?: ReactNode;
  /** Content that reaches the edges: tables. */
  flush?: boolean;
  tone?: 'bad';
  children: ReactNode;
}

/** A framed part of a page, with a heading that names it. */
export function Panel({ title, about, aside, flush, tone, children }: PanelProps) {
  const id = useId();
  return (
    <section className={classes.panel} aria-labelledby={title ? id : undefined} data-tone={tone}>
      {title && (
        <header className={classes.head}>
          <div>
            <h2 id={id} className={classes.title}>
              {title}
            </h2>
            {about && <p className={classes.about}>{about}</p>}
          </div>
          {aside}
        </header>
      )}
      <div className={flush ? classes.flush : classes.body} data-headed={title ? true : undefined}>
        {children}
      </div>
    </section>
  );
}
