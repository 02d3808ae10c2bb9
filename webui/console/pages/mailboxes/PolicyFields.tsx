import { Group, Pill, SimpleGrid, Stack, Switch, TagsInput, Text, TextInput } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { type PolicyDraft, type PolicyField, wrongFields } from './policy';

interface PolicyFieldsProps {
  draft: PolicyDraft;
  onChange: (draft: PolicyDraft) => void;
}

/** What a mailbox takes, and from whom. */
export function PolicyFields({ draft, onChange }: PolicyFieldsProps) {
  const { t } = useTranslation();
  const wrong = wrongFields(draft);
  const set = (part: Partial<PolicyDraft>) => onChange({ ...draft, ...part });
  const text = (field: PolicyField) => ({
    label: t(`policy.${field}`),
    value: draft[field],
    error: wrong.includes(field) ? t(field === 'quotaMessages' ? 'policy.noNumber' : 'policy.noSize') : null,
    onChange: (event: React.ChangeEvent<HTMLInputElement>) => set({ [field]: event.currentTarget.value }),
  });
  const presets = Object.entries(draft.presets);
  return (
    <Stack gap="md">
      <Switch
        label={t('policy.requireTls')}
        description={t('policy.requireTlsAbout')}
        checked={draft.requireTls}
        onChange={(event) => set({ requireTls: event.currentTarget.checked })}
      />
      <TagsInput
        label={t('policy.networks')}
        description={t('policy.networksAbout')}
        placeholder={draft.networks.length === 0 ? '192.0.2.0/24, 2001:db8::/32' : ''}
        value={draft.networks}
        splitChars={[',', ' ', ';', '\n']}
        acceptValueOnBlur
        onChange={(networks) => set({ networks })}
      />
      {presets.length > 0 && (
        <div>
          <Text size="sm" fw={500}>
            {t('policy.presets')}
          </Text>
          <Group gap={6} mt={4}>
            {presets.map(([name, networks]) => (
              <Pill
                key={name}
                withRemoveButton
                removeButtonProps={{
                  'aria-label': t('policy.removePreset', { name }),
                  'aria-hidden': false,
                  tabIndex: 0,
                }}
                onRemove={() => set({ presets: Object.fromEntries(presets.filter(([other]) => other !== name)) })}
              >
                {t('policy.preset', { name, count: networks.length })}
              </Pill>
            ))}
          </Group>
        </div>
      )}
      <SimpleGrid cols={{ base: 1, sm: 3 }} spacing="md">
        <TextInput {...text('maxMessageSize')} placeholder={t('policy.likeSettings')} />
        <TextInput {...text('quota')} placeholder={t('policy.noLimit')} />
        <TextInput {...text('quotaMessages')} placeholder={t('policy.noLimit')} inputMode="numeric" />
      </SimpleGrid>
      <Text size="xs" c="dimmed">
        {t('policy.sizesAbout')}
      </Text>
    </Stack>
  );
}
