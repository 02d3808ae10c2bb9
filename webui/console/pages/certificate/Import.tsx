// A certificate with its key, as a PKCS#12 file or as PEM text. Neither stays in the browser once it is sent.

import { Failure } from '@common/components/Ask';
import { Button, FileInput, Group, PasswordInput, SegmentedControl, Stack, Text, Textarea } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { base64, useImportCertificate } from '../../api/certificate';
import { useProblemText } from '../../api/problem';
import type { CertificateToImport, StoredCertificate } from '../../api/schema';

export function Import({ onStored }: { onStored: (stored: StoredCertificate) => void }) {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const store = useImportCertificate();
  const [form, setForm] = useState<'pkcs12' | 'pem'>('pkcs12');
  const [file, setFile] = useState<File | null>(null);
  const [password, setPassword] = useState('');
  const [pem, setPem] = useState('');
  const [key, setKey] = useState('');
  const ready = form === 'pkcs12' ? file !== null : pem.trim() !== '';
  const given = async (): Promise<CertificateToImport> => {
    if (form === 'pkcs12') return { pkcs12: file ? await base64(file) : '', password: password || null };
    return { pem, key: key.trim() === '' ? null : key };
  };
  const send = async () =>
    store.mutate(await given(), {
      onSuccess: (stored) => {
        setFile(null);
        setPassword('');
        setPem('');
        setKey('');
        store.reset();
        onStored(stored);
      },
    });
  const text = (value: string, set: (typed: string) => void) => ({
    value,
    classNames: { input: 'mono' },
    minRows: 4,
    maxRows: 10,
    autosize: true,
    spellCheck: false,
    autoComplete: 'off',
    onChange: (event: React.ChangeEvent<HTMLTextAreaElement>) => set(event.currentTarget.value),
  });
  return (
    <Stack gap="md">
      <SegmentedControl
        size="xs"
        aria-label={t('certificate.form')}
        value={form}
        onChange={(value) => setForm(value as 'pkcs12' | 'pem')}
        data={[
          { value: 'pkcs12', label: t('certificate.pkcs12') },
          { value: 'pem', label: t('certificate.pem') },
        ]}
      />
      {form === 'pkcs12' ? (
        <>
          <FileInput
            label={t('certificate.pkcs12File')}
            placeholder={t('certificate.choose')}
            accept=".p12,.pfx,application/x-pkcs12"
            value={file}
            onChange={setFile}
          />
          <PasswordInput
            label={t('certificate.filePassword')}
            value={password}
            autoComplete="off"
            visibilityToggleButtonProps={{ 'aria-label': t('signIn.showPassword') }}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
        </>
      ) : (
        <>
          <Textarea label={t('certificate.pemChain')} {...text(pem, setPem)} />
          <Textarea label={t('certificate.pemKey')} description={t('certificate.pemKeyAbout')} {...text(key, setKey)} />
        </>
      )}
      <Failure text={problemText(store.error)} />
      <Group gap="sm">
        <Button disabled={!ready} loading={store.isPending} onClick={() => void send()}>
          {t('certificate.import')}
        </Button>
        <Text size="xs" c="dimmed">
          {t('certificate.importAbout')}
        </Text>
      </Group>
    </Stack>
  );
}
