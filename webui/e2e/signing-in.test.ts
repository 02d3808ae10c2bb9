// Signing in: the first time, with a second factor, too often, and when the session is over.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Person } from './browser';
import { Gateway } from './gateway';
import { totp } from './totp';

let browser: Browser;

beforeAll(async () => {
  browser = await launch();
});

afterAll(() => browser?.close());

async function staged(more: string, play: (gateway: Gateway, admin: Person) => Promise<void>): Promise<void> {
  const gateway = await Gateway.start(more);
  try {
    const admin = await Person.at(browser, gateway.url());
    await play(gateway, admin);
    expect(admin.complaints).toEqual([]);
    await admin.leave();
  } finally {
    await gateway.stop();
  }
}

it('replaces the first password, shows the new one once, and goes on only when it is stored', () =>
  staged('', async (gateway, admin) => {
    const { page } = admin;
    await admin.typeCredentials('admin', 'wrong');
    await page.getByRole('alert').waitFor();
    await admin.typeCredentials('admin', 'admin');
    const password = (await page.getByTestId('new-password').locator('code').textContent()) ?? '';
    expect(password.length).toBeGreaterThan(15);
    expect(await admin.accessibilityProblems()).toEqual([]);
    await admin.picture('new-password');
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.getByRole('button', { name: 'Copy: Password' }).click();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(password);
    expect(await page.getByRole('button', { name: 'Continue' }).isDisabled()).toBe(true);

    // Whoever leaves now does not see it again, and is told what to do.
    await page.reload();
    await page.getByRole('heading', { name: 'Is the password stored?' }).waitFor();
    expect(await page.content()).not.toContain(password);
    await page.getByLabel('I have stored the password').check();
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();

    await page.getByRole('button', { name: /Menu of admin/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await admin.typeCredentials('admin', 'admin');
    await page.getByText('User name or password is wrong.').waitFor();
    await admin.signIn('admin', password);
    expect(gateway.log()).not.toContain(password);
  }));

it('shows no form before it is known which one it is', () =>
  staged('', async (_, admin) => {
    const { page } = admin;
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route('**/api/v1/sign-in', async (route) => {
      await released;
      await route.continue();
    });
    const asked = page.waitForRequest('**/api/v1/sign-in');
    await page.reload();
    await asked;
    await page.getByLabel('Loading').waitFor();
    expect(await page.getByRole('textbox').count()).toBe(0);
    release();
    await page.getByRole('heading', { name: 'First sign-in' }).waitFor();
  }));

it('asks for a one-time code once it is set up, and takes a recovery code in its place', () =>
  staged('', async (gateway, admin) => {
    const { page } = admin;
    const password = await admin.firstSignIn();
    await page.goto('/account');
    await page.getByRole('button', { name: 'Set up' }).click();
    await page.getByRole('dialog').getByLabel('Present password').fill(password);
    await page.getByRole('dialog').getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('img', { name: 'QR code for the authenticator app' }).waitFor();
    expect(await admin.accessibilityProblems()).toEqual([]);
    await admin.picture('totp');
    const dialog = page.getByRole('dialog');
    const secret = (await dialog.locator('code').textContent()) ?? '';
    const last = Date.now();
    await dialog.getByLabel('One-time code').fill(totp(secret, last));
    await dialog.getByRole('button', { name: 'Switch on' }).click();
    const codes = page.getByRole('dialog', { name: 'Recovery codes' });
    const [recovery = ''] = ((await codes.locator('code').textContent()) ?? '').split(' ');
    await codes.getByLabel('I have stored the recovery codes').check();
    await codes.getByRole('button', { name: 'OK', exact: true }).click();
    await page.getByText('10 recovery codes are left.').waitFor();

    const again = await Person.at(browser, gateway.url());
    await again.typeCredentials('admin', password);
    await again.page.getByRole('heading', { name: 'Second factor' }).waitFor();
    await again.page.getByLabel('One-time code').fill('000000');
    await again.page.getByRole('button', { name: 'Continue' }).click();
    await again.page.getByText('The code is wrong or has expired.').waitFor();
    expect(await again.accessibilityProblems()).toEqual([]);
    await again.picture('second-factor');
    // A code serves once: the next step's is within what is accepted of clocks that differ.
    await again.page.getByLabel('One-time code').fill(totp(secret, last + 30_000));
    await again.page.getByRole('button', { name: 'Continue' }).click();
    await again.page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
    await again.leave();

    const third = await Person.at(browser, gateway.url());
    await third.typeCredentials('admin', password);
    await third.page.getByRole('button', { name: 'Use a recovery code' }).click();
    await third.page.getByLabel('Recovery code').fill(recovery);
    await third.page.getByRole('button', { name: 'Continue' }).click();
    await third.page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor();
    await third.leave();
  }));

it('makes a guesser wait, and says how long', () =>
  staged('[limits]\nlogin_failures_free = 2\nlogin_wait = "40 s"', async (_gateway, admin) => {
    const { page } = admin;
    await admin.firstSignIn();
    await page.getByRole('button', { name: /Menu of admin/ }).click();
    await page.getByRole('menuitem', { name: 'Sign out' }).click();
    const wait = page.getByText(/Too many attempts. Try again in \d+ seconds\./);
    for (let guess = 0; guess < 4 && !(await wait.isVisible()); guess += 1) {
      await admin.typeCredentials('admin', `guess ${guess}`);
      await page.getByRole('alert').waitFor();
      await page.getByRole('button', { name: 'Sign in' }).and(page.locator(':not([data-loading])')).waitFor();
    }
    await wait.waitFor();
  }));

it('goes back to the sign-in page when the session is over, and to the same page after it', () =>
  staged('[console]\nidle_timeout = "4 s"', async (_gateway, admin) => {
    const { page } = admin;
    const password = await admin.firstSignIn();
    await admin.goTo('Mailboxes');
    // The page asks by itself, which keeps nothing alive.
    await page.getByText('Your session has ended. Sign in again to go on.').waitFor();
    expect(await admin.accessibilityProblems()).toEqual([]);
    await admin.typeCredentials('admin', password);
    await page.getByRole('heading', { name: 'Mailboxes', level: 1 }).waitFor();
  }));
