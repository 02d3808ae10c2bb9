import { expect, it } from 'vitest';
import type { Configuration, Key } from '../api/schema';
import { browserName } from './account/browserName';
import { resultText } from './activity/resultText';
import { changesOf, sourceOf } from './certificate/source';
import { bodySchema, type Document, example, groupsOf, typeText } from './documentation/document';
import { draftOf, policyOf, wrongFields } from './mailboxes/policy';
import { kindOf, listOf, tableOf, typedValue } from './settings/values';

it('sends the policy that was typed', () => {
  const policy = {
    require_tls: true,
    networks: ['192.0.2.0/24'],
    presets: { microsoft365: ['198.51.100.0/24'] },
    max_message_size: 1024 ** 2,
    quota: null,
    quota_messages: 5,
  };
  expect(policyOf(draftOf(policy))).toEqual(policy);
  expect(wrongFields({ ...draftOf(policy), quota: 'lots', quotaMessages: '1.5' })).toEqual(['quota', 'quotaMessages']);
});

it('types a key as what its default is', () => {
  const key = (value: unknown) =>
    ({
      key: 'a.b',
      default: value,
      description: '',
      source: 'default',
      needs_restart: true,
    }) as Key;
  expect([true, 5, ['x'], '30 s', null].map((value) => kindOf(key(value)))).toEqual([
    'switch',
    'number',
    'list',
    'text',
    'text',
  ]);
  expect([typedValue('number', '12'), typedValue('number', 'x'), typedValue('text', ' ')]).toEqual([
    12,
    undefined,
    null,
  ]);
  expect([tableOf('limits.sessions'), tableOf('log_level')]).toEqual(['limits', 'general']);
  expect([listOf(['a']), listOf('a'), listOf(null)]).toEqual([['a'], ['a'], []]);
});

it('knows the browsers that people use', () => {
  const edge = 'Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0';
  expect([browserName(edge), browserName('Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0'), browserName('')]).toEqual([
    'Edge · Windows',
    'Firefox · Linux',
    '–',
  ]);
});

it('reads the document of the API', () => {
  const document: Document = {
    info: { title: 't', version: '1' },
    tags: [{ name: 'things' }],
    paths: {
      '/things': {
        get: { operationId: 'list', tags: ['things'], responses: {} },
        post: {
          operationId: 'make',
          tags: ['things'],
          requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } },
          responses: {},
        },
      },
    },
    components: {
      schemas: {
        Thing: {
          properties: {
            name: { type: 'string' },
            kind: { enum: ['a', 'b'] },
            inner: { $ref: '#/components/schemas/Thing' },
          },
        },
      },
    },
  };
  const [group] = groupsOf(document);
  expect(group?.operations.map((operation) => operation.method)).toEqual(['GET', 'POST']);
  const body = bodySchema(group?.operations[1]?.requestBody?.content);
  expect([body?.media, typeText(document, body?.schema)]).toEqual(['application/json', 'Thing']);
  // A thing in a thing ends somewhere.
  expect(example(document, body?.schema)).toMatchObject({ name: 'string', kind: 'a', inner: { name: 'string' } });
  expect(typeText(document, { type: ['string', 'null'], format: 'date' })).toBe('string | null (date)');
  expect(typeText(document, { items: { enum: ['a'] } })).toBe('"a"[]');
});

it('changes only the keys that another source of the certificate needs', () => {
  const key = (name: string, value: unknown, fallback: unknown = null) =>
    ({ key: name, value, default: fallback, description: '', source: 'file', needs_restart: true }) as Key;
  const configuration: Configuration = {
    text: '',
    revision: '',
    restart_pending: false,
    keys: [
      key('tls.mode', 'files', 'self-signed'),
      key('tls.certificate', '/a.pem'),
      key('tls.key', '/b.pem'),
      key('acme.accept_terms', null, false),
      key('acme.names', null, []),
      key('acme.contact', null, []),
      key('acme.directory_url', null, 'https://ca.example/dir'),
    ],
  };
  const draft = sourceOf(configuration);
  expect(changesOf(configuration, draft)).toEqual({});
  // Files are named in their own mode only.
  expect(changesOf(configuration, { ...draft, mode: 'self-signed' })).toEqual({
    'tls.mode': 'self-signed',
    'tls.certificate': null,
    'tls.key': null,
  });
  const acme = { ...draft, mode: 'acme' as const, acceptTerms: true, names: ['mail.example.com'] };
  expect(changesOf(configuration, acme)).toEqual({
    'tls.mode': 'acme',
    'tls.certificate': null,
    'tls.key': null,
    'acme.accept_terms': true,
    'acme.names': ['mail.example.com'],
  });
});

it('says in words what came of something, and leaves alone what it has no words for', () => {
  const word = (group: string, said: string, values?: Record<string, unknown>) =>
    group === 'refusal' ? said : `${group}.${said} ${JSON.stringify(values ?? {})}`;
  expect(
    ['stored', 'opened, 12 wait', 'login refused: x', 'something new'].map((said) => resultText(word, said)),
  ).toEqual([
    'result.stored {}',
    'result.opened {"count":12}',
    'result.login {"reason":"login.x {}"}',
    'something new',
  ]);
});
