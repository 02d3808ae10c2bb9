import { useTranslation } from 'react-i18next';
import classes from './Documentation.module.css';
import { type Document, resolved, type Schema, typeText } from './document';

interface FieldsProps {
  document: Document;
  schema: Schema | undefined;
  depth?: number;
}

const DEEPEST = 3;

/** The fields of an object, and those of objects inside it. */
export function Fields({ document, schema, depth = 0 }: FieldsProps) {
  const { t } = useTranslation();
  if (!schema || depth > DEEPEST) return null;
  const { schema: found } = resolved(document, schema);
  if (found.items) return <Fields document={document} schema={found.items} depth={depth} />;
  const inner = found.oneOf?.filter((one) => one.type !== 'null');
  if (inner && inner.length > 0) {
    return inner.map((one) => <Fields key={typeText(document, one)} document={document} schema={one} depth={depth} />);
  }
  if (!found.properties) return null;
  return (
    <dl className={classes.fields}>
      {Object.entries(found.properties).map(([name, property]) => (
        <div key={name} className={classes.field}>
          <dt>
            <code>{name}</code>
            <span className={classes.type}>{typeText(document, property)}</span>
            {found.required?.includes(name) && <span className={classes.required}>{t('documentation.required')}</span>}
          </dt>
          <dd>
            {property.description}
            <Fields document={document} schema={property} depth={depth + 1} />
          </dd>
        </div>
      ))}
    </dl>
  );
}
