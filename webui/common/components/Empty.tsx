import { Stack, Text } from '@mantine/core';
import type { ComponentType, ReactNode } from 'react';

interface EmptyProps {
  icon: ComponentType<{ size?: number; stroke?: number }>;
  title: string;
  children?: ReactNode;
}

/** Nothing here yet, and what to do about it. */
export function Empty({ icon: Icon, title, children }: EmptyProps) {
  return (
    <Stack align="center" gap={6}>
      <Icon size={30} stroke={1.4} />
      <Text fw={600} size="sm" c="var(--mantine-color-text)">
        {title}
      </Text>
      {children}
    </Stack>
  );
}
