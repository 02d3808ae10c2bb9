// A passkey as second factor, with an authenticator that the browser plays.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Person } from './browser';
import { Gateway } from './gateway';

let gateway: Gateway;
let browser: Browser;

beforeAll(async () => {
  gateway = await Gateway.start();
  browser = await launch();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
});

it('is set up, asked for at the next sign-in, and taken away', async () => {
  const admin = await Person.at(browser, gateway.url());
  const { page } = admin;
  const devices = await page.context().newCDPSession(page);
  await devices.send('WebAuthn.enable');
  await devices.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  const password = await admin.firstSignIn();
  await page.goto('/account');
  await page.getByRole('button', { name: 'Add passkey' }).click();
  const form = page.getByRole('dialog', { name: 'Add passkey' });
  await form.getByLabel('Name of the passkey').fill('Laptop');
  await form.getByLabel('Present password').fill(password);
  await form.getByRole('button', { name: 'Continue' }).click();
  const codes = page.getByRole('dialog', { name: 'Recovery codes' });
  await codes.getByLabel('I have stored the recovery codes').check();
  await codes.getByRole('button', { name: 'OK', exact: true }).click();
  await page.getByRole('listitem').filter({ hasText: 'Laptop' }).waitFor();
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('passkeys');

  await page.getByRole('button', { name: /Menu of admin/ }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await admin.typeCredentials('admin', password);
  await page.getByRole('button', { name: 'Use a passkey' }).waitFor();
  await admin.picture('second-factor-passkey');
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.getByRole('heading', { name: 'Your account', level: 1 }).waitFor();

  await page.getByRole('button', { name: 'Remove Laptop' }).click();
  await page.getByRole('dialog').getByLabel('Present password').fill(password);
  await page.getByRole('dialog').getByRole('button', { name: 'Continue' }).click();
  await page.getByRole('listitem').filter({ hasText: 'Laptop' }).waitFor({ state: 'detached' });
  expect(admin.complaints).toEqual([]);
  await admin.leave();
});
