import { Panel } from '@common/components/Panel';
import { Button, Group, Stack, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Configuration, ConfigurationChange } from '../../api/schema';

interface FileProps {
  configuration: Configuration;
  changeable: boolean;
  onChange: (change: ConfigurationChange) => void;
}

/** The whole file, for what has no field: several targets, providers, comments. */
export function File({ configuration, changeable, onChange }: FileProps) {
  const { t } = useTranslation();
  const [text, setText] = useState(configuration.text);
  const unchanged = text === configuration.text;
  return (
    <Panel title={t('settings.file')} about={t('settings.fileAbout')}>
      <Stack gap="md">
        <Textarea
          aria-label={t('settings.file')}
          classNames={{ input: 'mono' }}
          value={text}
          readOnly={!changeable}
          onChange={(event) => setText(event.currentTarget.value)}
          autosize
          minRows={16}
          maxRows={40}
          spellCheck={false}
          autoComplete="off"
        />
        {changeable && (
          <Group gap="sm">
            <Button disabled={unchanged} onClick={() => onChange({ text, revision: configuration.revision })}>
              {t('settings.check')}
            </Button>
            <Button variant="default" disabled={unchanged} onClick={() => setText(configuration.text)}>
              {t('common.discard')}
            </Button>
          </Group>
        )}
      </Stack>
    </Panel>
  );
}
