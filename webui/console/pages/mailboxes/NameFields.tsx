import { Textarea, TextInput } from '@mantine/core';
import { useTranslation } from 'react-i18next';

export interface Naming {
  name: string;
  description: string;
}

interface NameFieldsProps {
  naming: Naming;
  onChange: (naming: Naming) => void;
  /** What the name is for. */
  about?: string;
}

/** What a mailbox is called. */
export function NameFields({ naming, onChange, about }: NameFieldsProps) {
  const { t } = useTranslation();
  return (
    <>
      <TextInput
        label={t('mailboxes.name')}
        description={about}
        value={naming.name}
        onChange={(event) => onChange({ ...naming, name: event.currentTarget.value })}
        maxLength={100}
        required
        data-autofocus
      />
      <Textarea
        label={t('mailboxes.description')}
        value={naming.description}
        onChange={(event) => onChange({ ...naming, description: event.currentTarget.value })}
        maxLength={1000}
        autosize
        minRows={2}
      />
    </>
  );
}

/** As it is sent. */
export const trimmed = ({ name, description }: Naming): Naming => ({
  name: name.trim(),
  description: description.trim(),
});
