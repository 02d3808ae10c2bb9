import { CopyBlock } from '@common/components/Copy';
import { Stack, Text } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import classes from './Documentation.module.css';
import { bodySchema, type Document, example, type Operation, typeText } from './document';
import { Fields } from './Fields';
import { TryIt } from './TryIt';

interface OperationDetailsProps {
  document: Document;
  operation: Operation;
}

/** What an operation takes and answers. */
export function OperationDetails({ document, operation }: OperationDetailsProps) {
  const { t } = useTranslation();
  const body = bodySchema(operation.requestBody?.content);
  return (
    <Stack gap="lg">
      {operation.description && <Text size="sm">{operation.description}</Text>}
      {(operation.parameters?.length ?? 0) > 0 && (
        <div>
          <h3 className={classes.part}>{t('documentation.parameters')}</h3>
          <dl className={classes.fields}>
            {operation.parameters?.map((parameter) => (
              <div key={parameter.name} className={classes.field}>
                <dt>
                  <code>{parameter.name}</code>
                  <span className={classes.type}>
                    {parameter.in} · {typeText(document, parameter.schema)}
                  </span>
                </dt>
                <dd>{parameter.description}</dd>
              </div>
            ))}
          </dl>
        </div>
      )}
      {body && (
        <div>
          <h3 className={classes.part}>
            {t('documentation.body')} <span className={classes.type}>{body.media}</span>
          </h3>
          <Fields document={document} schema={body.schema} />
          <CopyBlock
            text={JSON.stringify(example(document, body.schema), null, 2)}
            label={t('common.copy', { what: t('documentation.example') })}
          />
        </div>
      )}
      <div>
        <h3 className={classes.part}>{t('documentation.answers')}</h3>
        {Object.entries(operation.responses).map(([status, response]) => {
          const answered = bodySchema(response.content);
          return (
            <div key={status} className={classes.answer}>
              <b className="numbers">{status}</b>
              <span className={classes.type}>
                {answered ? `${typeText(document, answered.schema)} · ${answered.media}` : t('documentation.nothing')}
              </span>
              {status.startsWith('2') && answered && <Fields document={document} schema={answered.schema} />}
            </div>
          );
        })}
      </div>
      <TryIt document={document} operation={operation} />
    </Stack>
  );
}
