// Networks that may send: single ones, and lists of them with names. Whether they can be is for the gateway to say.

import { Box, Button, Group, Stack, TagsInput, Text, TextInput } from '@mantine/core';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';

interface NetworksProps {
  label: string;
  about?: string;
  value: string[];
  onChange: (networks: string[]) => void;
}

/** Addresses and networks, typed or pasted one after the other. */
export function Networks({ label, about, value, onChange }: NetworksProps) {
  return (
    <TagsInput
      label={label}
      description={about}
      placeholder={value.length === 0 ? '192.0.2.0/24, 2001:db8::/32' : ''}
      value={value}
      splitChars={[',', ' ', ';', '\n']}
      acceptValueOnBlur
      onChange={(networks) => onChange(networks.map((one) => one.trim()).filter((one) => one !== ''))}
    />
  );
}

interface NetworkListsProps {
  lists: Record<string, string[]>;
  onChange: (lists: Record<string, string[]>) => void;
}

/** Lists by name, as providers publish them; networks are added to a list and taken out of it. */
export function NetworkLists({ lists, onChange }: NetworkListsProps) {
  const { t } = useTranslation();
  const [name, setName] = useState('');
  const wanted = name.trim().toLowerCase();
  const add = () => {
    if (wanted === '' || wanted in lists) return;
    onChange({ ...lists, [wanted]: [] });
    setName('');
  };
  return (
    <Stack gap="xs">
      <div>
        <Text size="sm" fw={500}>
          {t('policy.presets')}
        </Text>
        <Text size="xs" c="dimmed">
          {t('policy.presetsAbout')}
        </Text>
      </div>
      {Object.entries(lists).map(([list, networks]) => (
        <Group key={list} gap="sm" align="flex-end" wrap="nowrap">
          <Box flex={1} miw={0}>
            <Networks
              label={t('policy.preset', { name: list, count: networks.length })}
              value={networks}
              onChange={(next) => onChange({ ...lists, [list]: next })}
            />
          </Box>
          <Button
            variant="default"
            aria-label={t('policy.removePreset', { name: list })}
            onClick={() => onChange(Object.fromEntries(Object.entries(lists).filter(([other]) => other !== list)))}
          >
            {t('people.remove')}
          </Button>
        </Group>
      ))}
      <Group gap="sm" align="flex-end">
        <TextInput
          label={t('policy.presetName')}
          value={name}
          maxLength={64}
          onChange={(event) => setName(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter') return;
            event.preventDefault();
            add();
          }}
        />
        <Button variant="default" disabled={wanted === '' || wanted in lists} onClick={add}>
          {t('policy.addPreset')}
        </Button>
      </Group>
    </Stack>
  );
}
