import {
  IconActivity,
  IconApi,
  IconArrowsLeftRight,
  IconCertificate,
  IconGauge,
  IconKey,
  IconMailbox,
  IconSettings,
  IconStethoscope,
  IconUsers,
} from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { NavLink } from 'react-router';
import { useMay } from '../api/session';
import classes from './Navigation.module.css';

export function Navigation() {
  const { t } = useTranslation();
  const administrates = useMay('administrator');
  const groups = [
    {
      id: 'mail',
      entries: [
        { to: '/', icon: IconGauge, title: t('nav.overview') },
        { to: '/mailboxes', icon: IconMailbox, title: t('nav.mailboxes') },
        { to: '/activity', icon: IconActivity, title: t('nav.activity') },
      ],
    },
    {
      id: 'gateway',
      title: t('nav.gateway'),
      entries: administrates
        ? [
            { to: '/settings', icon: IconSettings, title: t('nav.settings') },
            { to: '/certificate', icon: IconCertificate, title: t('nav.certificate') },
            { to: '/proxy', icon: IconArrowsLeftRight, title: t('nav.proxy') },
            { to: '/doctor', icon: IconStethoscope, title: t('nav.doctor') },
            { to: '/administrators', icon: IconUsers, title: t('nav.administrators') },
          ]
        : [],
    },
    {
      id: 'scripts',
      title: t('nav.scripts'),
      entries: [
        { to: '/tokens', icon: IconKey, title: t('nav.tokens') },
        { to: '/documentation', icon: IconApi, title: t('nav.documentation') },
      ],
    },
  ];
  return (
    <div className={classes.groups}>
      {groups
        .filter((group) => group.entries.length > 0)
        .map((group) => (
          <div key={group.id}>
            {group.title && <div className={classes.title}>{group.title}</div>}
            {group.entries.map(({ to, icon: Icon, title }) => (
              <NavLink key={to} to={to} end={to === '/'} className={classes.link ?? ''}>
                <Icon size={18} stroke={1.6} aria-hidden />
                {title}
              </NavLink>
            ))}
          </div>
        ))}
    </div>
  );
}
