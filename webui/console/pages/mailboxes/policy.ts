// A mailbox's policy as it is typed, and as it is sent.
import { parseSize, sizeText } from '@common/format/sizes';
import type { MailboxPolicy } from '../../api/schema';

export interface PolicyDraft {
  requireTls: boolean;
  networks: string[];
  presets: Record<string, string[]>;
  maxMessageSize: string;
  quota: string;
  quotaMessages: string;
}

export type PolicyField = 'maxMessageSize' | 'quota' | 'quotaMessages';

export function draftOf(policy: MailboxPolicy | undefined): PolicyDraft {
  return {
    requireTls: policy?.require_tls ?? false,
    networks: policy?.networks ?? [],
    presets: policy?.presets ?? {},
    maxMessageSize: sizeText(policy?.max_message_size),
    quota: sizeText(policy?.quota),
    quotaMessages: policy?.quota_messages?.toString() ?? '',
  };
}

/** What is no size or no number. */
export function wrongFields(draft: PolicyDraft): PolicyField[] {
  const wrong: PolicyField[] = [];
  if (parseSize(draft.maxMessageSize) === undefined) wrong.push('maxMessageSize');
  if (parseSize(draft.quota) === undefined) wrong.push('quota');
  if (!/^\s*[0-9]*\s*$/.test(draft.quotaMessages)) wrong.push('quotaMessages');
  return wrong;
}

export function policyOf(draft: PolicyDraft): MailboxPolicy {
  const messages = draft.quotaMessages.trim();
  return {
    require_tls: draft.requireTls,
    networks: draft.networks,
    presets: draft.presets,
    max_message_size: parseSize(draft.maxMessageSize) ?? null,
    quota: parseSize(draft.quota) ?? null,
    quota_messages: messages === '' ? null : Number(messages),
  };
}
