// Binds an account: its owner consents at the provider, by a code or by a link, and gets a proxy password for the mail client.

import { closeLabel, Failure } from '@common/components/Ask';
import { SecretDialog } from '@common/components/SecretDialog';
import { Button, Group, Input, Modal, SegmentedControl, Select, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { bindingsChanged } from '../../api/care';
import { sentence, useProblemText } from '../../api/problem';
import type { By, ProviderRow } from '../../api/schema';
import { useSteps } from '../../api/steps';
import { type BindingStep, Consent } from './Consent';

interface BindProps {
  providers: ProviderRow[];
  opened: boolean;
  onClose: () => void;
}

interface Bound {
  account: string;
  password: string;
}

export function Bind({ providers, opened, onClose }: BindProps) {
  const { t } = useTranslation();
  const [bound, setBound] = useState<Bound | null>(null);
  const done = (made: Bound) => {
    onClose();
    setBound(made);
  };
  return (
    <>
      <Modal
        opened={opened}
        onClose={onClose}
        title={t('binding.bind')}
        size="lg"
        closeOnClickOutside={false}
        closeButtonProps={closeLabel(t('common.close'))}
      >
        <Binding providers={providers} onClose={onClose} onBound={done} />
      </Modal>
      <SecretDialog
        title={t('binding.boundTitle')}
        facts={bound ? [{ label: t('binding.account'), text: bound.account }] : []}
        secrets={bound ? [{ label: t('binding.password'), text: bound.password }] : null}
        warning={t('binding.passwordWarning')}
        agreement={t('binding.stored')}
        onDone={() => setBound(null)}
      />
    </>
  );
}

interface BindingProps {
  providers: ProviderRow[];
  onClose: () => void;
  onBound: (bound: Bound) => void;
}

function Binding({ providers, onClose, onBound }: BindingProps) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [user, setUser] = useState('');
  const [name, setName] = useState(providers[0]?.name ?? '');
  const [wanted, setWanted] = useState<By | null>(null);
  const binding = useSteps<BindingStep>('/api/v1/oauth/bindings', {
    onStep: (step) => step.state === 'bound' && onBound(step),
    onEnd: () => void bindingsChanged(),
  });
  const provider = providers.find((one) => one.name === name);
  const ways = provider ? waysOf(provider) : [];
  const by = ways.find((way) => way === wanted) ?? ways[0] ?? 'code';
  const failed = binding.steps.find((step) => step.state === 'failed');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    binding.begin({ user: user.trim(), provider: name, by });
  };
  if (binding.running) return <Consent steps={binding.steps} onCancel={binding.end} />;
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <Text size="sm" c="dimmed">
          {t('binding.how')}
        </Text>
        <TextInput
          label={t('binding.user')}
          description={t('binding.userAbout')}
          placeholder="anna@example.com%pop.example.com"
          value={user}
          onChange={(event) => setUser(event.currentTarget.value)}
          maxLength={1000}
          autoCapitalize="none"
          autoComplete="off"
          spellCheck={false}
          required
          data-autofocus
        />
        <Select
          label={t('binding.provider')}
          value={name}
          allowDeselect={false}
          onChange={(value) => value && setName(value)}
          data={providers.map((one) => one.name)}
        />
        {ways.length > 1 && (
          <div>
            <Input.Label labelElement="div" id="binding-by" display="block">
              {t('binding.by')}
            </Input.Label>
            <SegmentedControl
              aria-labelledby="binding-by"
              value={by}
              onChange={(value) => setWanted(value as By)}
              data={ways.map((way) => ({ value: way, label: t(`binding.way.${way}`) }))}
            />
          </div>
        )}
        <Failure text={failed ? sentence(failed.text) : problemText(binding.problem)} />
        <Group justify="flex-end" gap="sm">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" disabled={user.trim() === '' || ways.length === 0}>
            {t('signIn.continue')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** What the provider has, the way it prefers first. */
function waysOf({ has_device_code, has_link, prefers_device_code }: ProviderRow): By[] {
  const ways: By[] = [...(has_device_code ? (['code'] as const) : []), ...(has_link ? (['link'] as const) : [])];
  return prefers_device_code ? ways : ways.reverse();
}
