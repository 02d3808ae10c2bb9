// A browser, and what people do at the console.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';

const EXECUTABLE = process.env.POSTERN_CHROMIUM ?? '/usr/bin/chromium';
const SHOTS = fileURLToPath(new URL('../../target/screenshots/', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: EXECUTABLE,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

export interface Looks {
  language?: 'en' | 'de';
  dark?: boolean;
  phone?: boolean;
}

/** Somebody at the console, with everything noted that must not happen: script errors, and what the policy refused. */
export class Person {
  readonly page: Page;
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('console', (message) => {
      if (/Content.Security.Policy|Refused to|Warning:/i.test(message.text())) this.complaints.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.complaints.push(`a dialog opened: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  static async at(browser: Browser, url: string, looks: Looks = {}): Promise<Person> {
    const context: BrowserContext = await browser.newContext({
      baseURL: url,
      ignoreHTTPSErrors: true,
      locale: looks.language === 'de' ? 'de-DE' : 'en-GB',
      colorScheme: looks.dark ? 'dark' : 'light',
      reducedMotion: 'reduce',
      viewport: looks.phone ? { width: 390, height: 844 } : { width: 1440, height: 900 },
      // No isMobile: the tests type and click as on a desktop.
    });
    context.setDefaultTimeout(60_000);
    const person = new Person(await context.newPage());
    await person.page.goto('/');
    return person;
  }

  /** The first of all sign-ins; the password from then on. */
  async firstSignIn(): Promise<string> {
    const { page } = this;
    await page.getByLabel('User name').fill('admin');
    await page.getByLabel('Password', { exact: true }).fill('admin');
    await page.getByRole('button', { name: 'Sign in' }).click();
    const password = ((await page.getByTestId('new-password').locator('code').textContent()) ?? '').trim();
    await page.getByLabel('I have stored the password').check();
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
    return password;
  }

  async typeCredentials(name: string, password: string): Promise<void> {
    const { page } = this;
    await page.getByLabel(/^(User name|Benutzername)$/).fill(name);
    await page.getByLabel(/^(Password|Passwort)$/).fill(password);
    await page.getByRole('button', { name: /^(Sign in|Anmelden)$/ }).click();
  }

  async signIn(name: string, password: string): Promise<void> {
    await this.typeCredentials(name, password);
    await this.page
      .locator('main h1')
      .filter({ hasNotText: /^(Sign in|Anmelden)$/ })
      .waitFor();
  }

  /** Goes to a page by its link in the navigation. */
  async goTo(name: string): Promise<void> {
    await this.page.getByRole('link', { name, exact: true }).first().click();
    await this.page.getByRole('heading', { level: 1, name }).waitFor();
  }

  /** Makes a mailbox in its dialog; id, address and password. */
  async createMailbox(name: string, description = ''): Promise<{ id: string; address: string; password: string }> {
    const { page } = this;
    await page.getByRole('button', { name: 'New mailbox' }).click();
    const form = page.getByRole('dialog', { name: 'New mailbox' });
    await form.getByRole('textbox', { name: 'Name', exact: true }).fill(name);
    await form.getByLabel('Description').fill(description);
    await form.getByRole('button', { name: 'Create mailbox' }).click();
    const shown = page.getByRole('dialog', { name: 'The mailbox is ready' });
    const ok = shown.getByRole('button', { name: 'OK', exact: true });
    expect(await ok.isDisabled()).toBe(true);
    const [address = '', id = '', password = ''] = await shown.locator('code').allInnerTexts();
    await shown.getByLabel("I've read and understood the above warning").check();
    await ok.click();
    await shown.waitFor({ state: 'hidden' });
    return { id, address, password };
  }

  /** What axe finds that is serious or worse. */
  async accessibilityProblems(): Promise<string[]> {
    await this.page.evaluate(AXE);
    const found = await this.page.evaluate(async () => {
      const axe = (globalThis as unknown as { axe: typeof import('axe-core') }).axe;
      return (await axe.run(document)).violations.map(({ id, impact, nodes }) => ({
        id,
        impact,
        nodes: nodes.map((node) => `${node.target} ${node.failureSummary}`),
      }));
    });
    return found
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.join(' | ')}`);
  }

  async picture(name: string): Promise<void> {
    mkdirSync(SHOTS, { recursive: true });
    // As tall as its content, so that what sticks to the window is where it belongs.
    const { page } = this;
    const before = page.viewportSize();
    const tall = await page.evaluate(() => document.documentElement.scrollHeight);
    if (before) await page.setViewportSize({ ...before, height: Math.max(before.height, Math.min(tall, 2600)) });
    await page.screenshot({ path: `${SHOTS}${name}.png` });
    if (before) await page.setViewportSize(before);
  }

  async leave(): Promise<void> {
    await this.page.context().close();
  }
}
