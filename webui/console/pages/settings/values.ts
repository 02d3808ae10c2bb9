// How a key's value is typed: as what its default is.
import type { Key } from '../../api/schema';

export type Kind = 'switch' | 'number' | 'text' | 'list';

/** The tables whose keys are shown under a heading each, in this order; keys without a table come first. */
export function tableOf(key: string): string {
  const dot = key.indexOf('.');
  return dot < 0 ? 'general' : key.slice(0, dot);
}

/** What a key is called; nothing when the pages know no name for it. */
export function titleOf(word: (group: string, word: string) => string, key: string): string {
  const name = word('settings.names', key);
  return name === key ? '' : name;
}

export function kindOf(key: Key): Kind {
  const example: unknown = key.default ?? key.value;
  if (typeof example === 'boolean') return 'switch';
  if (typeof example === 'number') return 'number';
  if (Array.isArray(example)) return 'list';
  return 'text';
}

export function textOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : JSON.stringify(value);
}

export function listOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.map(textOf);
  return value === null || value === undefined || value === '' ? [] : [textOf(value)];
}

/** What is sent: `null` takes a key out, so that its default counts; `undefined` is no value of that kind. */
export function typedValue(kind: Kind, typed: string): unknown {
  const text = typed.trim();
  if (text === '') return null;
  if (kind !== 'number') return text;
  return /^-?\d+$/.test(text) ? Number(text) : undefined;
}

export const same = (one: unknown, other: unknown) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
