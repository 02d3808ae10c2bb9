// Looking for trouble, a mail client's way, bound accounts, warnings, and reading the configuration again.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Looks, launch, Person } from './browser';
import { Gateway } from './gateway';
import { Provider } from './provider';

let gateway: Gateway;
let provider: Provider;
let browser: Browser;
let admin: Person;
let password: string;

beforeAll(async () => {
  provider = await Provider.start();
  gateway = await Gateway.start(`[console]\ndisk_warning = "1000000 GiB"\n${provider.settings()}`);
  browser = await launch();
  admin = await Person.at(browser, gateway.url());
  password = await admin.firstSignIn();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
  provider?.stop();
});

async function looked(person: Person, name: string): Promise<void> {
  expect(await person.accessibilityProblems()).toEqual([]);
  await person.picture(name);
  const wide = await person.page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );
  expect(wide, `${name} is wider than the screen`).toBe(false);
}

const LOOKS: [name: string, looks: Looks][] = [
  ['light', {}],
  ['dark', { dark: true }],
  ['phone', { phone: true }],
  ['german', { language: 'de' }],
];

describe.each(LOOKS)('%s', (look, looks) => {
  it('tells what trouble there is, which step of a way fails, and whose accounts are bound', async () => {
    const person = await Person.at(browser, gateway.url(), looks);
    const { page } = person;
    const german = looks.language === 'de';
    const said = (english: string, deutsch: string) => (german ? deutsch : english);
    await person.signIn('admin', password);
    const low = page.getByText(said('are free on the disk: pull mail', 'Auf der Platte sind nur noch'));
    await low.waitFor();

    await page.goto('/doctor');
    await page.getByText(said('Nothing was checked yet', 'Noch wurde nichts geprüft')).waitFor();
    await looked(person, `doctor-before-${look}`);
    await page.getByRole('button', { name: said('Check now', 'Jetzt prüfen') }).click();
    const checks = page.getByRole('list', { name: said('Checks', 'Prüfungen') });
    await checks.getByText(said('DNS of the e-mail domain', 'DNS der E-Mail-Domain')).waitFor();
    for (const check of [said('Permissions', 'Dateirechte'), said('Clock', 'Uhr')]) {
      await checks.getByText(check, { exact: true }).waitFor();
    }
    await looked(person, `doctor-${look}`);

    await page.goto('/proxy');
    const user = page.getByLabel(said('User name in the mail client', 'Benutzername im Mailprogramm'));
    const go = page.getByRole('button', { name: said('Go', 'Losgehen'), exact: true });
    await user.fill('anna');
    await go.click();
    const ends = page.getByText(said('It ends here. The last step says why.', 'Hier endet er.'));
    await ends.waitFor();
    await page.getByText('it holds no').waitFor();
    const { id } = gateway.run('mailbox', 'create', '--name', `For ${look}`) as { id: string };
    await user.fill(`anna%127.0.0.1%${id}`);
    await go.click();
    const steps = page.getByRole('list', { name: said('Steps', 'Schritte') });
    await steps.getByText(said('Policy', 'Richtlinie'), { exact: true }).waitFor();
    await steps.getByText('proxy.allow_private_targets').waitFor();
    await ends.waitFor();
    await looked(person, `way-${look}`);

    await page.goto('/proxy?tab=accounts');
    await page.getByText(said('No account is bound', 'Kein Konto ist gebunden')).waitFor();
    await looked(person, `bindings-none-${look}`);
    await page.getByRole('button', { name: said('Bind an account', 'Konto binden') }).click();
    await page
      .getByLabel(said('User name of the mail client', 'Benutzername des Mailprogramms'))
      .fill('otto@example.com%mail.example.net');
    await looked(person, `bind-${look}`);
    await page.getByText(said('A code, on any device', 'Ein Code, auf jedem Gerät')).click();
    await page.getByRole('button', { name: said('Continue', 'Weiter') }).click();
    await page.getByText('WDJB-MJHT').first().waitFor();
    await looked(person, `bind-code-${look}`);
    await page.getByRole('button', { name: said('Cancel', 'Abbrechen') }).click();
    await page.getByText(said('A link, in a browser', 'Ein Link, im Browser')).click();
    await page.getByRole('button', { name: said('Continue', 'Weiter') }).click();
    const address = page.getByLabel(said('Address that the browser ended at', 'Adresse, bei der der Browser'));
    await address.fill('http://127.0.0.1/?code=a&state=other');
    await page.getByRole('button', { name: said('Use this address', 'Diese Adresse verwenden') }).click();
    await page.getByText(said('That is not the address.', 'Das ist nicht die Adresse.')).waitFor();
    await looked(person, `bind-link-${look}`);
    expect(person.complaints).toEqual([]);
    await person.leave();
  });
});

async function begin(user: string, way: string): Promise<void> {
  const { page } = admin;
  await page.goto('/proxy?tab=accounts');
  await page.getByRole('button', { name: 'Bind an account' }).click();
  await page.getByLabel('User name of the mail client').fill(user);
  await page.getByText(way).click();
  await page.getByRole('button', { name: 'Continue' }).click();
}

/** The proxy password, once it is shown. */
async function shown(name?: string): Promise<string> {
  const { page } = admin;
  const dialog = page.getByRole('dialog', { name: 'The account is bound' });
  await dialog.waitFor();
  if (name) await looked(admin, name);
  const given = (await dialog.locator('code').allInnerTexts()).at(-1) ?? '';
  await dialog.getByLabel('I have stored the password, or handed it over').check();
  await dialog.getByRole('button', { name: 'OK', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
  return given;
}

it('binds an account by a code, revokes it, and forgets it', async () => {
  const { page } = admin;
  await begin('anna@example.com%mail.example.net', 'A code, on any device');
  await page.getByText('WDJB-MJHT').first().waitFor();
  provider.consented = true;
  expect((await shown('bound')).length).toBeGreaterThan(15);
  provider.consented = false;
  await page.getByText('anna@example.com%mail.example.net').waitFor();
  await looked(admin, 'bindings');
  await page.getByRole('button', { name: 'Revoke the binding of' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke', exact: true }).click();
  await page.getByRole('heading', { name: 'Revoked' }).waitFor();
  await page.getByText('No account is bound').waitFor();
  await looked(admin, 'bindings-revoked');
  await page.getByRole('button', { name: 'Forget anna' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Forget', exact: true }).click();
  await page.getByRole('heading', { name: 'Revoked' }).waitFor({ state: 'detached' });
  await page.goto('/activity?tab=audit');
  for (const action of ['Account bound', 'Binding revoked']) await page.getByText(action).first().waitFor();
});

it('shows an account that would like to be a script as text', async () => {
  const { page } = admin;
  const account = '<img/src=x/onerror="globalThis.struck=1">@example.com%mail.example.net';
  await begin(account, 'A code, on any device');
  await page.getByText('WDJB-MJHT').first().waitFor();
  provider.consented = true;
  await shown('bound');
  provider.consented = false;
  await page.getByText(account).first().waitFor();
  await page.goto('/activity?tab=audit');
  await page.getByText('Account bound').first().waitFor();
  expect(await page.evaluate(() => (globalThis as { struck?: number }).struck)).toBeUndefined();
  expect(admin.complaints).toEqual([]);
});

it('binds an account by a link, whose end is pasted', async () => {
  const { page } = admin;
  await begin('otto@example.com%mail.example.net', 'A link, in a browser');
  const link = new URL((await page.getByRole('dialog').locator('code').first().textContent()) ?? '');
  const state = link.searchParams.get('state') ?? '';
  expect(link.searchParams.get('code_challenge_method')).toBe('S256');
  await page.getByLabel('Address that the browser ended at').fill(`http://127.0.0.1/?code=c&state=${state}`);
  await page.getByRole('button', { name: 'Use this address' }).click();
  const given = await shown();
  await page.getByText('otto@example.com%mail.example.net').waitFor();
  expect(gateway.log()).not.toContain(given);
});

it('reads the configuration again', async () => {
  const { page } = admin;
  await page.goto('/settings');
  await page.getByRole('button', { name: 'Reload configuration' }).click();
  await page.getByText('Reloaded. Nothing has changed.').waitFor();
  gateway.rewrite((text) => `${text}[limits]\nsessions = 77\n`);
  await page.getByRole('button', { name: 'Reload configuration' }).click();
  await page.getByText('In effect now: limits.sessions.').waitFor();
  await looked(admin, 'reloaded');
  gateway.rewrite((text) => text.replace('sessions = 77', 'sessions = "many"'));
  await page.getByRole('button', { name: 'Reload configuration' }).click();
  await page.getByRole('alert').filter({ hasText: 'sessions' }).waitFor();
  expect(admin.complaints).toEqual([]);
});
