import { nameOf } from '@common/language/language';
import { Avatar, Group, Menu, Text, UnstyledButton, useMantineColorScheme } from '@mantine/core';
import {
  IconCheck,
  IconChevronDown,
  IconDeviceDesktop,
  IconLogout,
  IconMoon,
  IconSun,
  IconUserCircle,
} from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { useNavigate } from 'react-router';
import { useSession, useSignOut } from '../api/session';
import { languages, speak } from '../languages';

/** Who is signed in; language, light or dark, the own account, the way out. */
export function UserMenu() {
  const { t, i18n } = useTranslation();
  const session = useSession().data;
  const signOut = useSignOut();
  const navigate = useNavigate();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  if (!session) return null;
  const ticked = (is: boolean) => (is ? <IconCheck size={15} aria-hidden /> : null);
  const schemes = [
    { value: 'light', icon: IconSun, title: t('user.light') },
    { value: 'dark', icon: IconMoon, title: t('user.dark') },
    { value: 'auto', icon: IconDeviceDesktop, title: t('user.auto') },
  ] as const;
  return (
    <Menu position="bottom-end" width={230} shadow="md">
      <Menu.Target>
        <UnstyledButton>
          <Group gap={8} wrap="nowrap">
            <Avatar size={28} radius="xl" color="indigo" name={session.name} aria-hidden />
            <Text size="sm" fw={560} visibleFrom="sm" aria-hidden>
              {session.name}
            </Text>
            <span className="unseen">{t('user.menu', { name: session.name })}</span>
            <IconChevronDown size={14} aria-hidden />
          </Group>
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {session.name} · {t(`role.${session.role}`)}
        </Menu.Label>
        <Menu.Item leftSection={<IconUserCircle size={16} />} onClick={() => navigate('/account')}>
          {t('nav.account')}
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>{t('user.language')}</Menu.Label>
        {languages.map((code) => (
          <Menu.Item
            key={code}
            lang={code}
            closeMenuOnClick={false}
            aria-current={i18n.language === code}
            rightSection={ticked(i18n.language === code)}
            onClick={() => void speak(code)}
          >
            {nameOf(code)}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Label>{t('user.scheme')}</Menu.Label>
        {schemes.map(({ value, icon: Icon, title }) => (
          <Menu.Item
            key={value}
            closeMenuOnClick={false}
            leftSection={<Icon size={16} />}
            rightSection={ticked(colorScheme === value)}
            aria-current={colorScheme === value}
            onClick={() => setColorScheme(value)}
          >
            {title}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => signOut.mutate()}>
          {t('user.signOut')}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
