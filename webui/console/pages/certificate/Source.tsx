// Another source is a change of the configuration: it is checked, applied, and takes effect as the check says.

import { Panel } from '@common/components/Panel';
import { Button, Checkbox, Fieldset, Group, Radio, Stack, TagsInput, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Configuration, ConfigurationChange } from '../../api/schema';
import { changesOf, MODES, type Mode, type SourceDraft, sourceOf } from './source';

interface SourceProps {
  configuration: Configuration;
  onChange: (change: ConfigurationChange) => void;
}

export function Source({ configuration, onChange }: SourceProps) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState(sourceOf(configuration));
  const changes = changesOf(configuration, draft);
  const unchanged = Object.keys(changes).length === 0;
  const changeable = configuration.file !== null && configuration.file !== undefined;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onChange({ changes: changes as Record<string, never>, revision: configuration.revision });
  };
  return (
    <Panel title={t('certificate.change')} about={t('certificate.changeAbout')}>
      <form onSubmit={submit}>
        <Stack gap="lg" maw={720}>
          <Fieldset variant="unstyled" disabled={!changeable}>
            <Stack gap="lg">
              <Radio.Group
                label={t('certificate.source')}
                value={draft.mode}
                onChange={(mode) => setDraft({ ...draft, mode: mode as Mode })}
              >
                <Stack gap="sm" mt="xs">
                  {MODES.map((mode) => (
                    <Radio
                      key={mode}
                      value={mode}
                      label={t(`certificate.mode.${mode}`)}
                      description={t(`certificate.modeAbout.${mode}`)}
                    />
                  ))}
                </Stack>
              </Radio.Group>
              <Details draft={draft} onChange={setDraft} />
            </Stack>
          </Fieldset>
          {!changeable && <Text size="sm">{t('settings.noFile')}</Text>}
          {changeable && (
            <Group gap="sm">
              <Button type="submit" disabled={unchanged}>
                {t('settings.check')}
              </Button>
              <Button variant="default" disabled={unchanged} onClick={() => setDraft(sourceOf(configuration))}>
                {t('common.discard')}
              </Button>
            </Group>
          )}
        </Stack>
      </form>
    </Panel>
  );
}

/** What the chosen source needs to know. */
function Details({ draft, onChange }: { draft: SourceDraft; onChange: (draft: SourceDraft) => void }) {
  const { t } = useTranslation();
  const set = (part: Partial<SourceDraft>) => onChange({ ...draft, ...part });
  const typed = (field: 'certificate' | 'key' | 'directoryUrl') => ({
    value: draft[field],
    spellCheck: false,
    autoComplete: 'off',
    onChange: (event: React.ChangeEvent<HTMLInputElement>) => set({ [field]: event.currentTarget.value }),
  });
  const lists = (field: 'names' | 'contact') => ({
    value: draft[field],
    splitChars: [',', ' '],
    acceptValueOnBlur: true,
    onChange: (next: string[]) => set({ [field]: next.map((one) => one.trim()).filter((one) => one !== '') }),
  });
  if (draft.mode === 'files') {
    return (
      <Stack gap="md">
        <TextInput
          label={t('certificate.file')}
          description={t('certificate.fileAbout')}
          placeholder="/etc/postern/fullchain.pem"
          required
          {...typed('certificate')}
        />
        <TextInput
          label={t('certificate.keyFile')}
          description={t('certificate.keyFileAbout')}
          placeholder="/etc/postern/privkey.pem"
          required
          {...typed('key')}
        />
      </Stack>
    );
  }
  if (draft.mode === 'imported') {
    return <Text size="sm">{t('certificate.importFirst')}</Text>;
  }
  if (draft.mode === 'acme') {
    return (
      <Stack gap="md">
        <TagsInput label={t('certificate.names')} description={t('certificate.namesAbout')} {...lists('names')} />
        <TagsInput label={t('certificate.contact')} description={t('certificate.contactAbout')} {...lists('contact')} />
        <TextInput
          label={t('certificate.directory')}
          description={t('certificate.directoryAbout')}
          inputMode="url"
          {...typed('directoryUrl')}
        />
        <Checkbox
          label={t('certificate.acceptTerms')}
          description={t('certificate.acceptTermsAbout')}
          checked={draft.acceptTerms}
          onChange={(event) => set({ acceptTerms: event.currentTarget.checked })}
        />
      </Stack>
    );
  }
  return null;
}
