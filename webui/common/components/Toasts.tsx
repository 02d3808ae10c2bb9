// Short words on what was done, read out as well. What went wrong stays until it is closed.
import { Alert, Portal } from '@mantine/core';
import { IconAlertTriangle, IconCheck } from '@tabler/icons-react';
import { createContext, type ReactNode, useCallback, useContext, useMemo, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import classes from './Toasts.module.css';

interface Toast {
  id: number;
  text: string;
  failed: boolean;
}

interface Tell {
  done: (text: string) => void;
  failed: (text: string) => void;
}

const SHOWN_MS = 4500;
const Context = createContext<Tell>({ done: () => undefined, failed: () => undefined });

export const useToasts = () => useContext(Context);

export function Toasts({ children }: { children: ReactNode }) {
  const { t } = useTranslation();
  const [toasts, setToasts] = useState<Toast[]>([]);
  const last = useRef(0);
  const close = useCallback((id: number) => setToasts((all) => all.filter((toast) => toast.id !== id)), []);
  const tell = useMemo<Tell>(() => {
    const add = (text: string, failed: boolean) => {
      last.current += 1;
      const id = last.current;
      setToasts((all) => [...all.slice(-3), { id, text, failed }]);
      if (!failed) setTimeout(() => close(id), SHOWN_MS);
    };
    return { done: (text) => add(text, false), failed: (text) => add(text, true) };
  }, [close]);
  return (
    <Context.Provider value={tell}>
      {children}
      <Portal>
        <section className={classes.place} aria-live="polite" aria-label={t('common.messages')}>
          {toasts.map((toast) => (
            <Alert
              key={toast.id}
              role={toast.failed ? 'alert' : undefined}
              className={classes.toast}
              color={toast.failed ? 'red' : 'teal'}
              variant="outline"
              icon={toast.failed ? <IconAlertTriangle size={18} /> : <IconCheck size={18} />}
              withCloseButton
              closeButtonLabel={t('common.close')}
              onClose={() => close(toast.id)}
            >
              {toast.text}
            </Alert>
          ))}
        </section>
      </Portal>
    </Context.Provider>
  );
}
