// The API as the gateway itself describes it, to be read and tried.

import { Failure } from '@common/components/Ask';
import { CopyBlock } from '@common/components/Copy';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { Accordion, Anchor, Skeleton, TextInput } from '@mantine/core';
import { IconDownload, IconSearch } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { problemOf, useProblemText } from '../../api/problem';
import classes from './Documentation.module.css';
import { type Document, type Group, groupsOf } from './document';
import { OperationDetails } from './Operation';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const [text, setText] = useState('');
  const { data, error } = useQuery({
    queryKey: ['openapi'],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async (): Promise<Document> => {
      const response = await fetch('/api/openapi.json');
      if (!response.ok) throw problemOf(null, response.status);
      return (await response.json()) as Document;
    },
  });
  const groups = data ? filtered(groupsOf(data), text) : [];
  const curl = `curl -H "Authorization: Bearer postern_…" ${location.origin}/api/v1/mailboxes`;
  return (
    <Frame
      title={t('nav.documentation')}
      about={t('documentation.about')}
      actions={
        <Anchor href="/api/openapi.json" download size="sm">
          <IconDownload size={15} aria-hidden /> openapi.json
        </Anchor>
      }
    >
      <Failure text={problemText(error)} />
      <Panel title={t('documentation.begin')} about={t('documentation.beginText')}>
        <CopyBlock text={curl} label={t('common.copy', { what: t('common.command') })} />
      </Panel>
      <TextInput
        type="search"
        maw={420}
        aria-label={t('documentation.search')}
        placeholder={t('documentation.search')}
        leftSection={<IconSearch size={16} />}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
      />
      {!data && !error && <Skeleton height={400} />}
      {data &&
        groups.map((group) => (
          <Panel key={group.name} title={group.name} about={group.description} flush>
            <Accordion chevronPosition="right" classNames={{ item: classes.item ?? '' }} multiple>
              {group.operations.map((operation) => (
                <Accordion.Item key={operation.operationId} value={operation.operationId}>
                  <Accordion.Control>
                    <span className={classes.line}>
                      <span className={classes.method} data-method={operation.method}>
                        {operation.method}
                      </span>
                      <code className={classes.path}>{operation.path}</code>
                      <span className={classes.summary}>{operation.summary}</span>
                    </span>
                  </Accordion.Control>
                  <Accordion.Panel>
                    <OperationDetails document={data} operation={operation} />
                  </Accordion.Panel>
                </Accordion.Item>
              ))}
            </Accordion>
          </Panel>
        ))}
    </Frame>
  );
}

function filtered(groups: Group[], text: string): Group[] {
  const wanted = text.trim().toLowerCase();
  return groups
    .map((group) => ({
      ...group,
      operations: group.operations.filter((operation) =>
        [operation.path, operation.method, operation.summary ?? '', group.name].some((field) =>
          field.toLowerCase().includes(wanted),
        ),
      ),
    }))
    .filter((group) => group.operations.length > 0);
}
