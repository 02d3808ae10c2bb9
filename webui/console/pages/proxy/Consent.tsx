import { Failure } from '@common/components/Ask';
import { CopyField } from '@common/components/Copy';
import { Anchor, Button, Group, Loader, Stack, Text, TextInput } from '@mantine/core';
import { IconExternalLink } from '@tabler/icons-react';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { usePasteAddress } from '../../api/care';
import { useProblemText } from '../../api/problem';
import type { BindingStep } from '../../api/schema';

export type { BindingStep };

type Step<State extends BindingStep['state']> = Extract<BindingStep, { state: State }>;

/** What the owner of the account does at the provider, until that is done. */
export function Consent({ steps, onCancel }: { steps: BindingStep[]; onCancel: () => void }) {
  const { t } = useTranslation();
  const asked = steps[0];
  return (
    <Stack gap="md">
      {asked?.state === 'code' && <Code step={asked} />}
      {asked?.state === 'link' && <Link step={asked} wrong={steps.some((step) => step.state === 'not-that')} />}
      <Group justify="space-between" gap="sm">
        <Group gap="xs" role="status">
          <Loader size="xs" aria-hidden />
          <Text size="sm" c="dimmed">
            {t(asked ? 'binding.waiting' : 'binding.asking')}
          </Text>
        </Group>
        <Button variant="default" onClick={onCancel}>
          {t('common.cancel')}
        </Button>
      </Group>
    </Stack>
  );
}

function Code({ step }: { step: Step<'code'> }) {
  const { t } = useTranslation();
  return (
    <>
      <Text size="sm">{t('binding.codeText', { count: Math.floor(step.life_seconds / 60) })}</Text>
      <Labelled label={t('binding.code')} text={step.code} />
      <Labelled label={t('binding.link')} text={step.link} />
      <Open link={step.complete_link ?? step.link} />
    </>
  );
}

function Link({ step, wrong }: { step: Step<'link'>; wrong: boolean }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const paste = usePasteAddress();
  const [address, setAddress] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    paste.mutate({ id: step.id, address: address.trim() }, { onSuccess: () => setAddress('') });
  };
  return (
    <>
      <Text size="sm">{t('binding.linkText')}</Text>
      <Labelled label={t('binding.link')} text={step.link} />
      <Open link={step.link} />
      <form onSubmit={submit}>
        <Stack gap="sm">
          <TextInput
            label={t('binding.address')}
            description={t(step.comes_back ? 'binding.addressAbout' : 'binding.addressElsewhere')}
            placeholder="http://127.0.0.1:…/?code=…&state=…"
            value={address}
            onChange={(event) => setAddress(event.currentTarget.value)}
            error={wrong && address === '' ? t('binding.notThat') : null}
            autoComplete="off"
            spellCheck={false}
            required
          />
          <Failure text={problemText(paste.error)} />
          <Group>
            <Button type="submit" variant="default" loading={paste.isPending} disabled={address.trim() === ''}>
              {t('binding.paste')}
            </Button>
          </Group>
        </Stack>
      </form>
    </>
  );
}

function Labelled({ label, text }: { label: string; text: string }) {
  const { t } = useTranslation();
  return (
    <div>
      <Text size="xs" c="dimmed" fw={560} mb={4}>
        {label}
      </Text>
      <CopyField text={text} label={t('common.copy', { what: label })} />
    </div>
  );
}

function Open({ link }: { link: string }) {
  const { t } = useTranslation();
  // Whatever the configuration names as a provider: only such an address is opened.
  if (!link.startsWith('https://')) return null;
  return (
    <Anchor href={link} target="_blank" rel="noopener noreferrer" size="sm">
      <IconExternalLink size={15} aria-hidden /> {t('binding.open')}
    </Anchor>
  );
}
