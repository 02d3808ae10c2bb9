import { SimpleGrid, Stack, Switch, Text, TextInput } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { NetworkLists, Networks } from './Networks';
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
  return (
    <Stack gap="md">
      <Switch
        label={t('policy.requireTls')}
        description={t('policy.requireTlsAbout')}
        checked={draft.requireTls}
        onChange={(event) => set({ requireTls: event.currentTarget.checked })}
      />
      <Networks
        label={t('policy.networks')}
        about={t('policy.networksAbout')}
        value={draft.networks}
        onChange={(networks) => set({ networks })}
      />
      <NetworkLists lists={draft.presets} onChange={(presets) => set({ presets })} />
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
