import { Button, Center, Stack, Text, Title } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { Translation } from 'react-i18next';

/** What is shown in place of a page that could not be drawn: after an upgrade its parts have other names. */
export class Fallback extends Component<{ of: string; children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override componentDidUpdate(before: { of: string }) {
    // Another page may work.
    if (before.of !== this.props.of && this.state.failed) this.setState({ failed: false });
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <Translation>
        {(t) => (
          <Center mih="60dvh">
            <Stack align="center" gap="sm">
              <Title order={1} size="h3">
                {t('lost.failed')}
              </Title>
              <Text c="dimmed">{t('lost.failedText')}</Text>
              <Button onClick={() => location.reload()}>{t('lost.reload')}</Button>
            </Stack>
          </Center>
        )}
      </Translation>
    );
  }
}
