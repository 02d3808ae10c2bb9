// Who may sign in, and what they may do.

import { Failure } from '@common/components/Ask';
import { type Column, DataTable } from '@common/components/DataTable';
import { Empty } from '@common/components/Empty';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { SecretDialog } from '@common/components/SecretDialog';
import { Status } from '@common/components/Status';
import { Ago } from '@common/format/Ago';
import { Button, SimpleGrid } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { IconPlus, IconUsers } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { administratorsQuery } from '../../api/people';
import { useProblemText } from '../../api/problem';
import type { Administrator, AdministratorWithPassword, Role } from '../../api/schema';
import { useSession } from '../../api/session';
import classes from './Administrators.module.css';
import { Create } from './Create';
import { PersonMenu } from './PersonMenu';

export const ROLES: Role[] = ['administrator', 'operator', 'viewer'];

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const { data, error } = useQuery(administratorsQuery);
  const [creating, create] = useDisclosure();
  const [made, setMade] = useState<AdministratorWithPassword | null>(null);
  const columns = useColumns(setMade);
  return (
    <Frame
      title={t('nav.administrators')}
      about={t('people.about')}
      actions={
        <Button leftSection={<IconPlus size={16} />} onClick={create.open}>
          {t('people.create')}
        </Button>
      }
    >
      <Failure text={data ? null : problemText(error)} />
      <Panel flush>
        <DataTable
          caption={t('nav.administrators')}
          columns={columns}
          rows={data}
          rowKey={(person) => person.name}
          initialSort={{ id: 'name', descending: false }}
          empty={<Empty icon={IconUsers} title={t('people.none')} />}
        />
      </Panel>
      <SimpleGrid cols={{ base: 1, sm: 3 }} spacing={14}>
        {ROLES.map((role) => (
          <div key={role} className={classes.role}>
            <h2>{t(`role.${role}`)}</h2>
            <p>{t(`role.${role}About`)}</p>
          </div>
        ))}
      </SimpleGrid>
      <Create opened={creating} onClose={create.close} onMade={setMade} />
      <SecretDialog
        title={t('people.passwordTitle')}
        facts={made ? [{ label: t('signIn.name'), text: made.administrator.name }] : []}
        secrets={made ? [{ label: t('signIn.password'), text: made.password }] : null}
        warning={t('people.passwordWarning')}
        agreement={t('people.handedOver')}
        onDone={() => setMade(null)}
      />
    </Frame>
  );
}

function useColumns(onReset: (made: AdministratorWithPassword) => void): Column<Administrator>[] {
  const { t } = useTranslation();
  const own = useSession().data?.name;
  return [
    {
      id: 'name',
      title: t('people.name'),
      wide: true,
      sortBy: (person) => person.name,
      cell: (person) => (
        <>
          <b>{person.name}</b> {person.name === own && <span className="dim">({t('people.you')})</span>}
        </>
      ),
    },
    {
      id: 'role',
      title: t('people.role'),
      sortBy: (person) => ROLES.indexOf(person.role),
      cell: (person) => (
        <Status tone={person.role === 'administrator' ? 'info' : 'calm'} plain>
          {t(`role.${person.role}`)}
        </Status>
      ),
    },
    {
      id: 'second',
      title: t('people.secondFactor'),
      sortBy: (person) => Number(person.totp),
      cell: (person) =>
        person.totp ? <Status tone="good">{t('people.on')}</Status> : <Status tone="warn">{t('people.off')}</Status>,
    },
    {
      id: 'sessions',
      title: t('people.sessions'),
      align: 'right',
      from: 'tablet',
      sortBy: (person) => person.sessions,
      cell: (person) => person.sessions,
    },
    {
      id: 'password',
      title: t('people.passwordAt'),
      from: 'tablet',
      sortBy: (person) => person.password_at,
      cell: (person) => (
        <>
          <Ago at={person.password_at} />
          {person.password_is_given && <div className="dim">{t('people.given')}</div>}
        </>
      ),
    },
    {
      id: 'created',
      title: t('people.createdAt'),
      from: 'desktop',
      sortBy: (person) => person.created_at,
      cell: (person) => <Ago at={person.created_at} />,
    },
    {
      id: 'menu',
      title: t('common.actions'),
      untitled: true,
      align: 'right',
      cell: (person) => (person.name === own ? null : <PersonMenu person={person} onReset={onReset} />),
    },
  ];
}
