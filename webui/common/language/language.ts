// Which language the pages speak. A language is one JSON file; its name for the menu is what the browser calls it.
import i18next, { type i18n } from 'i18next';
import { initReactI18next } from 'react-i18next';

const STORED = 'postern-language';

/** How a language's texts are loaded, by its code (`de`). */
export type Loaders = Record<string, () => Promise<Record<string, unknown>>>;

/** Loaders of `import.meta.glob('…/*.json')`, by code. */
export function loadersByCode(found: Record<string, () => Promise<{ default: Record<string, unknown> }>>): Loaders {
  const entries = Object.entries(found).map(([path, load]) => {
    const code = path.replace(/^.*\//, '').replace(/\.json$/, '');
    return [code, async () => (await load()).default] as const;
  });
  return Object.fromEntries(entries);
}

/** The language to begin with: the one chosen before, else the first of the browser's that there is, else English. */
export function firstLanguage(available: string[], stored: string | null, wanted: readonly string[]): string {
  if (stored && available.includes(stored)) return stored;
  const found = wanted.map((tag) => tag.split('-')[0] ?? '').find((code) => available.includes(code));
  return found ?? 'en';
}

/** What a language calls itself. */
export function nameOf(code: string): string {
  const name = new Intl.DisplayNames([code], { type: 'language' }).of(code) ?? code;
  return name.charAt(0).toLocaleUpperCase(code) + name.slice(1);
}

export async function beginLanguage(loaders: Loaders): Promise<i18n> {
  const stored = readStored();
  const code = firstLanguage(Object.keys(loaders), stored, navigator.languages);
  const texts = (await loaders[code]?.()) ?? {};
  await i18next.use(initReactI18next).init({
    lng: code,
    fallbackLng: false,
    resources: { [code]: { translation: texts } },
    interpolation: { escapeValue: false },
    returnNull: false,
    showSupportNotice: false,
  });
  document.documentElement.lang = code;
  return i18next;
}

export async function switchLanguage(loaders: Loaders, code: string): Promise<void> {
  const load = loaders[code];
  if (!load) return;
  if (!i18next.hasResourceBundle(code, 'translation')) {
    i18next.addResourceBundle(code, 'translation', await load());
  }
  await i18next.changeLanguage(code);
  document.documentElement.lang = code;
  try {
    localStorage.setItem(STORED, code);
  } catch {
    // It counts until the page is closed, then.
  }
}

function readStored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}
