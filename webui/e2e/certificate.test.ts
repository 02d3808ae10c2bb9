// The certificate: what is served, what each port shows, and putting another one in its place.
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Person } from './browser';
import { Gateway } from './gateway';

const FIXTURES = fileURLToPath(new URL('../../tests/fixtures/certificates/', import.meta.url));

let gateway: Gateway;
let browser: Browser;
let admin: Person;

beforeAll(async () => {
  gateway = await Gateway.start();
  browser = await launch();
  admin = await Person.at(browser, gateway.url());
  await admin.firstSignIn();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
});

it('imports a file that an old program wrote, by its password, and shows the change that makes it count', async () => {
  const { page } = admin;
  await admin.goTo('Certificate');
  const choosing = page.waitForEvent('filechooser');
  await page.getByRole('button', { name: 'File (.p12, .pfx)' }).click();
  await (await choosing).setFiles(`${FIXTURES}3des.pfx`);
  const secret = page.getByLabel('Password of the file').and(page.locator('input'));
  await secret.fill('wrong');
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await page.getByText('The password of the file is wrong.').waitFor();
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('certificate-wrong-password');
  await secret.fill('secret');
  await page.getByRole('button', { name: 'Import', exact: true }).click();
  await page.getByText('The certificate is stored.').waitFor();
  const change = page.getByRole('dialog', { name: 'Check and apply' });
  await change.getByText('tls.mode').waitFor();
  await change.getByText('After a restart').waitFor();
  await admin.picture('certificate-imported');
  await change.getByRole('button', { name: 'Cancel' }).click();
});

it('replaces a self-signed one after a question, at every port at once', async () => {
  const { page } = admin;
  await page.goto('/certificate');
  const fingerprint = page.getByText(/^sha256:/).first();
  const before = await fingerprint.innerText();
  await page.getByRole('tab', { name: 'Self-signed' }).click();
  await page.getByRole('button', { name: 'Make a self-signed certificate' }).click();
  const asked = page.getByRole('dialog', { name: 'Replace the self-signed certificate' });
  await asked.getByText('refuse the new one until they are told').waitFor();
  await asked.getByRole('button', { name: 'Replace the self-signed certificate' }).click();
  await page.getByText('The new certificate is served now.').waitFor();
  await fingerprint.filter({ hasNotText: before }).waitFor();
  await page.getByRole('button', { name: 'Look now' }).click();
  await page.getByText('This certificate').first().waitFor();
  expect(await page.getByText('This certificate').count()).toBe(6);
  expect(await page.getByText('Another certificate').count()).toBe(0);
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('certificate-ports');
});

it('asks no authority before its terms are agreed to', async () => {
  const { page } = admin;
  await page.goto('/certificate');
  await page.getByRole('tab', { name: 'Ask the authority' }).click();
  await page.getByText('terms of service below first').waitFor();
  expect(await page.getByRole('button', { name: 'Ask the authority' }).isDisabled()).toBe(true);
  await admin.picture('certificate-authority');
  expect(admin.complaints).toEqual([]);
});
