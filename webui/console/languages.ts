// Every file in languages/ is a language.
import { beginLanguage, loadersByCode, switchLanguage } from '@common/language/language';
import type en from './languages/en.json';

const loaders = loadersByCode(import.meta.glob<{ default: Record<string, unknown> }>('./languages/*.json'));

export const languages = Object.keys(loaders).sort();
export const begin = () => beginLanguage(loaders);
export const speak = (code: string) => switchLanguage(loaders, code);

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'translation';
    resources: { translation: typeof en };
    returnNull: false;
  }
}
