// Where the certificate comes from, as it is chosen on the page, and the change of the configuration that makes it so.
import type { Configuration } from '../../api/schema';
import { listOf, same, textOf } from '../settings/values';

export const MODES = ['self-signed', 'files', 'imported', 'acme'] as const;
export type Mode = (typeof MODES)[number];

export interface SourceDraft {
  mode: Mode;
  certificate: string;
  key: string;
  acceptTerms: boolean;
  names: string[];
  contact: string[];
  directoryUrl: string;
}

/** What a key is set to; its default when nobody has set it. */
export function settingOf(configuration: Configuration, name: string): unknown {
  const key = configuration.keys.find((one) => one.key === name);
  return key?.value ?? key?.default ?? null;
}

export function modeOf(configuration: Configuration): Mode {
  const mode = textOf(settingOf(configuration, 'tls.mode'));
  return MODES.find((one) => one === mode) ?? 'self-signed';
}

export function sourceOf(configuration: Configuration): SourceDraft {
  const setting = (name: string) => settingOf(configuration, name);
  return {
    mode: modeOf(configuration),
    certificate: textOf(setting('tls.certificate')),
    key: textOf(setting('tls.key')),
    acceptTerms: setting('acme.accept_terms') === true,
    names: listOf(setting('acme.names')),
    contact: listOf(setting('acme.contact')),
    directoryUrl: textOf(setting('acme.directory_url')),
  };
}

/** The keys that have to change; files are named in mode `files` only, and an authority's keys stay as they are elsewhere. */
export function changesOf(configuration: Configuration, draft: SourceDraft): Record<string, unknown> {
  const text = (typed: string) => typed.trim() || null;
  const list = (typed: string[]) => (typed.length > 0 ? typed : null);
  const files = draft.mode === 'files';
  const wanted: Record<string, unknown> = {
    'tls.mode': draft.mode,
    'tls.certificate': files ? text(draft.certificate) : null,
    'tls.key': files ? text(draft.key) : null,
  };
  if (draft.mode === 'acme') {
    wanted['acme.accept_terms'] = draft.acceptTerms;
    wanted['acme.names'] = list(draft.names);
    wanted['acme.contact'] = list(draft.contact);
    wanted['acme.directory_url'] = text(draft.directoryUrl);
  }
  const isNew = ([name, value]: [string, unknown]) => {
    const now = settingOf(configuration, name);
    return !same(value, Array.isArray(now) && now.length === 0 ? null : now);
  };
  return Object.fromEntries(Object.entries(wanted).filter(isNew));
}
