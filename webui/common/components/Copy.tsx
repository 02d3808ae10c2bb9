import { ActionIcon, Tooltip } from '@mantine/core';
import { useClipboard } from '@mantine/hooks';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import classes from './Copy.module.css';

/** Copies a text; says so to the eye and to screen readers. */
export function CopyButton({ text, label }: { text: string; label: string }) {
  const { t } = useTranslation();
  const clipboard = useClipboard({ timeout: 1800 });
  const says = clipboard.copied ? t('common.copied') : label;
  return (
    <>
      <Tooltip label={says}>
        <ActionIcon
          variant="subtle"
          color={clipboard.copied ? 'teal' : 'gray'}
          size="sm"
          aria-label={label}
          onClick={(event) => {
            event.stopPropagation();
            clipboard.copy(text);
          }}
        >
          {clipboard.copied ? <IconCheck size={15} /> : <IconCopy size={15} />}
        </ActionIcon>
      </Tooltip>
      <span className="unseen" role="status">
        {clipboard.copied ? t('common.copied') : ''}
      </span>
    </>
  );
}

/** A value to be copied, in a frame of its own. */
export function CopyField({ text, label, secret }: { text: string; label: string; secret?: boolean }) {
  return (
    <div className={classes.field} data-secret={secret || undefined}>
      <code className={classes.text}>{text}</code>
      <CopyButton text={text} label={label} />
    </div>
  );
}

/** Lines to be copied. */
export function CopyBlock({ text, label }: { text: string; label: string }) {
  return (
    <div className={classes.block}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, by keyboard too */}
      <pre className={classes.lines} tabIndex={0}>
        {text}
      </pre>
      <div className={classes.corner}>
        <CopyButton text={text} label={label} />
      </div>
    </div>
  );
}
