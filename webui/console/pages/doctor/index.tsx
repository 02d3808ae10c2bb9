// Looks for trouble before it finds the operator.

import { Failure } from '@common/components/Ask';
import { Empty } from '@common/components/Empty';
import { Page as Frame } from '@common/components/Page';
import { Panel } from '@common/components/Panel';
import { Status } from '@common/components/Status';
import { Box, Button, Loader } from '@mantine/core';
import { IconStethoscope } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { useExamine } from '../../api/care';
import { useProblemText } from '../../api/problem';
import type { Finding } from '../../api/schema';
import { Findings } from './Findings';

export function Page() {
  const { t } = useTranslation();
  const problemText = useProblemText();
  const examine = useExamine();
  const found = examine.isPending ? undefined : examine.data;
  return (
    <Frame
      title={t('nav.doctor')}
      about={t('doctor.about')}
      actions={
        <Button
          leftSection={<IconStethoscope size={16} />}
          loading={examine.isPending}
          onClick={() => examine.mutate()}
        >
          {examine.data ? t('doctor.again') : t('doctor.begin')}
        </Button>
      }
    >
      <Failure text={problemText(examine.error)} />
      <Panel title={t('doctor.checks')} aside={found && <Verdict findings={found} />} flush>
        {found ? (
          <Findings findings={found} label={t('doctor.checks')} />
        ) : (
          <Box p="xl" fz="sm" ta="center" c="dimmed" role="status">
            {examine.isPending ? (
              <>
                <Loader size="sm" aria-hidden />
                <p>{t('doctor.looking')}</p>
              </>
            ) : (
              <Empty icon={IconStethoscope} title={t('doctor.none')}>
                {t('doctor.noneText')}
              </Empty>
            )}
          </Box>
        )}
      </Panel>
    </Frame>
  );
}

/** All of them in a word. */
function Verdict({ findings }: { findings: Finding[] }) {
  const { t } = useTranslation();
  const count = (verdict: Finding['verdict']) => findings.filter((finding) => finding.verdict === verdict).length;
  const [failed, warned] = [count('fail'), count('warn')];
  if (failed > 0) return <Status tone="bad">{t('doctor.failed', { count: failed })}</Status>;
  if (warned > 0) return <Status tone="warn">{t('doctor.warned', { count: warned })}</Status>;
  return <Status tone="good">{t('doctor.fine')}</Status>;
}
