// Sends a request with the session that is open: what it changes is changed.

import { CopyBlock } from '@common/components/Copy';
import { Alert, Button, Group, Stack, Textarea, TextInput } from '@mantine/core';
import { IconAlertTriangle, IconPlayerPlay } from '@tabler/icons-react';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { OWN_PAGE } from '../../api/client';
import classes from './Documentation.module.css';
import { bodySchema, type Document, example, type Operation } from './document';

interface TryItProps {
  document: Document;
  operation: Operation;
}

const SHOWN_MAX = 20_000;

export function TryIt({ document, operation }: TryItProps) {
  const { t } = useTranslation();
  const body = bodySchema(operation.requestBody?.content);
  const streams = Object.values(operation.responses).some((response) => response.content?.['text/event-stream']);
  const [given, setGiven] = useState<Record<string, string>>({});
  const [sent, setSent] = useState(() => (body ? JSON.stringify(example(document, body.schema), null, 2) : ''));
  const [told, setTold] = useState<{ status: string; text: string } | null>(null);
  const [running, setRunning] = useState(false);
  if (streams) return null;
  const parameters = operation.parameters ?? [];
  const incomplete = parameters.some((parameter) => parameter.in === 'path' && !given[parameter.name]);
  const run = async () => {
    setRunning(true);
    setTold(await request(operation, parameters, given, body ? sent : null));
    setRunning(false);
  };
  return (
    <div className={classes.try}>
      <h3 className={classes.part}>{t('documentation.try')}</h3>
      <Stack gap="sm">
        {operation.method !== 'GET' && (
          <Alert color="orange" variant="light" icon={<IconAlertTriangle size={16} />}>
            {t('documentation.changes')}
          </Alert>
        )}
        {parameters.map((parameter) => (
          <TextInput
            key={parameter.name}
            size="xs"
            maw={420}
            label={parameter.name}
            value={given[parameter.name] ?? ''}
            onChange={(event) => {
              const value = event.currentTarget.value;
              setGiven((before) => ({ ...before, [parameter.name]: value }));
            }}
          />
        ))}
        {body && (
          <Textarea
            label={t('documentation.body')}
            classNames={{ input: 'mono' }}
            value={sent}
            onChange={(event) => setSent(event.currentTarget.value)}
            autosize
            minRows={3}
            maxRows={20}
            spellCheck={false}
          />
        )}
        <Group>
          <Button
            size="xs"
            variant="default"
            leftSection={<IconPlayerPlay size={14} />}
            disabled={incomplete}
            loading={running}
            onClick={() => void run()}
          >
            {t('documentation.send')}
          </Button>
        </Group>
        {told && (
          <div role="status">
            <b className="numbers">{told.status}</b>
            {told.text && <CopyBlock text={told.text} label={t('common.copy', { what: t('documentation.answer') })} />}
          </div>
        )}
      </Stack>
    </div>
  );
}

async function request(
  operation: Operation,
  parameters: { name: string; in: string }[],
  given: Record<string, string>,
  body: string | null,
) {
  const asked = new URLSearchParams();
  let path = operation.path;
  for (const parameter of parameters) {
    const value = given[parameter.name] ?? '';
    if (parameter.in === 'path') path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== '') asked.set(parameter.name, value);
  }
  const url = asked.size > 0 ? `${path}?${asked}` : path;
  const headers = body === null ? OWN_PAGE : { ...OWN_PAGE, 'Content-Type': 'application/json' };
  try {
    const response = await fetch(url, { method: operation.method, headers, body });
    const text = (await response.text()).slice(0, SHOWN_MAX);
    return { status: `${response.status} ${response.statusText}`, text: indented(text) };
  } catch (error) {
    return { status: String(error), text: '' };
  }
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
