import { Ask, Failure } from '@common/components/Ask';
import { Button, Group, Stack, TagsInput } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useMakeSelfSigned } from '../../api/certificate';
import { ProblemError, useProblemText } from '../../api/problem';
import type { StoredCertificate } from '../../api/schema';

/** A new self-signed certificate; one that archivers may have pinned is replaced only after a question. */
export function SelfSigned({ onStored }: { onStored: (stored: StoredCertificate) => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const make = useMakeSelfSigned();
  const [names, setNames] = useState<string[]>([]);
  const exists = make.error instanceof ProblemError && make.error.word === 'exists';
  const send = (force: boolean) =>
    make.mutate(
      { names, force },
      {
        onSuccess: (stored) => {
          make.reset();
          onStored(stored);
        },
      },
    );
  return (
    <Stack gap="md">
      <TagsInput
        label={t('certificate.names')}
        description={t('certificate.namesAbout')}
        value={names}
        splitChars={[',', ' ']}
        acceptValueOnBlur
        onChange={setNames}
      />
      <Failure text={exists ? null : problemText(make.error)} />
      <Group>
        <Button loading={make.isPending} onClick={() => send(false)}>
          {t('certificate.makeSelfSigned')}
        </Button>
      </Group>
      <Ask
        title={t('certificate.replace')}
        opened={exists}
        onClose={make.reset}
        onConfirm={() => send(true)}
        confirm={t('certificate.replace')}
        dangerous
        busy={make.isPending}
      >
        {t('certificate.replaceText')}
      </Ask>
    </Stack>
  );
}
