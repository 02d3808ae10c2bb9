// What of OpenAPI 3.1 our own document uses.

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  description?: string;
  enum?: unknown[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  oneOf?: Schema[];
  allOf?: Schema[];
  example?: unknown;
}

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

type Content = Record<string, { schema?: Schema }>;

interface RawOperation {
  operationId: string;
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: Parameter[];
  requestBody?: { content: Content };
  responses: Record<string, { description?: string; content?: Content }>;
}

export interface Document {
  info: { title: string; version: string; description?: string };
  tags?: { name: string; description?: string }[];
  paths: Record<string, Record<string, RawOperation>>;
  components: { schemas: Record<string, Schema> };
}

export interface Operation extends RawOperation {
  method: string;
  path: string;
}

export interface Group {
  name: string;
  description: string;
  operations: Operation[];
}

/** Operations by their first tag, in the order of the document's tags. */
export function groupsOf(document: Document): Group[] {
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(
      ([method, operation]): Operation => ({ ...operation, method: method.toUpperCase(), path }),
    ),
  );
  return (document.tags ?? []).map(({ name, description = '' }) => ({
    name,
    description,
    operations: all.filter((operation) => operation.tags?.[0] === name),
  }));
}

/** The schema that a reference stands for, and what it is called. */
export function resolved(document: Document, schema: Schema): { name: string | null; schema: Schema } {
  if (!schema.$ref) return { name: null, schema };
  const name = schema.$ref.replace('#/components/schemas/', '');
  return { name, schema: document.components.schemas[name] ?? {} };
}

/** A type in a few words. */
export function typeText(document: Document, schema: Schema | undefined): string {
  if (!schema) return '';
  const { name, schema: found } = resolved(document, schema);
  const several = found.oneOf ?? (schema.$ref ? undefined : found.allOf);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (name) return name;
  if (several) return several.map((one) => typeText(document, one)).join(' | ');
  if (found.items) return `${typeText(document, found.items)}[]`;
  const types = Array.isArray(found.type) ? found.type.join(' | ') : (found.type ?? 'any');
  return found.format ? `${types} (${found.format})` : types;
}

/** A value as it could be sent. */
export function example(document: Document, schema: Schema | undefined, depth = 0): unknown {
  if (!schema || depth > 5) return null;
  const { schema: found } = resolved(document, schema);
  if (found.example !== undefined) return found.example;
  if (found.enum) return found.enum[0];
  const first = found.oneOf?.find((one) => one.type !== 'null') ?? found.allOf?.[0];
  if (first) return example(document, first, depth + 1);
  if (found.properties) {
    const entries = Object.entries(found.properties).map(([name, of]) => [name, example(document, of, depth + 1)]);
    return Object.fromEntries(entries);
  }
  if (found.items) return [example(document, found.items, depth + 1)];
  const type = Array.isArray(found.type) ? found.type.find((one) => one !== 'null') : found.type;
  const simple: Record<string, unknown> = { string: 'string', integer: 0, number: 0, boolean: false, object: {} };
  return simple[type ?? ''] ?? null;
}

/** The schema of a body, whatever its media type. */
export function bodySchema(content: Content | undefined): { media: string; schema: Schema | undefined } | null {
  const [entry] = Object.entries(content ?? {});
  return entry ? { media: entry[0], schema: entry[1].schema } : null;
}
