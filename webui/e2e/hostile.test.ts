// Text that would like to be a script, in every field that takes text; and what pages may load.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Person } from './browser';
import { Gateway } from './gateway';
import { deliver } from './mail';

let gateway: Gateway;
let browser: Browser;
let admin: Person;

const PROBES = [
  '<script>globalThis.struck=1</script>',
  '<img src=x onerror="globalThis.struck=1">',
  '"><svg onload=globalThis.struck=1>',
  "javascript:globalThis.struck=1//'",
  '{{constructor.constructor("globalThis.struck=1")()}}',
];

beforeAll(async () => {
  gateway = await Gateway.start();
  browser = await launch();
  admin = await Person.at(browser, gateway.url());
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
});

async function nothingStruck(): Promise<void> {
  expect(await admin.page.evaluate(() => (globalThis as { struck?: number }).struck)).toBeUndefined();
  expect(admin.complaints).toEqual([]);
}

it('is shown as text wherever it is put', async () => {
  const { page } = admin;
  await admin.typeCredentials(PROBES[0] ?? '', PROBES[1] ?? '');
  await page.getByRole('alert').waitFor();
  await admin.firstSignIn();
  await admin.goTo('Mailboxes');
  for (const probe of PROBES) {
    const made = await admin.createMailbox(probe, probe);
    await page.getByText(probe, { exact: true }).first().waitFor();
    // What a sender says of itself is no more to be trusted.
    await deliver(gateway.port('smtp'), made.address, probe);
    await page.goto(`/mailboxes/${made.id}`);
    await page.getByRole('heading', { level: 1, name: probe, exact: true }).waitFor();
    for (const tab of ['connect', 'policy']) {
      await page.goto(`/mailboxes/${made.id}?tab=${tab}`);
      await page.getByRole('heading', { level: 1, name: probe, exact: true }).waitFor();
    }
    await nothingStruck();
    await page.goto('/mailboxes');
    await page.getByLabel('Search name, description, address').fill(probe);
    await page.getByText(probe, { exact: true }).first().waitFor();
    await page.getByLabel('Search name, description, address').fill('');
  }
  await page.goto('/tokens');
  for (const probe of PROBES) {
    await page.getByRole('button', { name: 'New token' }).click();
    const form = page.getByRole('dialog', { name: 'New token' });
    await form.getByRole('textbox', { name: 'Name', exact: true }).fill(probe);
    await form.getByRole('button', { name: 'New token' }).click();
    const shown = page.getByRole('dialog', { name: 'Your new token' });
    await shown.getByLabel('I have stored the token').check();
    await shown.getByRole('button', { name: 'OK', exact: true }).click();
    await page.getByText(probe, { exact: true }).first().waitFor();
  }
  await nothingStruck();
  for (const path of [
    '/',
    '/activity',
    '/activity?tab=audit',
    '/documentation',
    '/settings',
    '/certificate',
    '/doctor',
  ]) {
    await page.goto(path);
    await page.locator('h1').waitFor();
    for (const probe of PROBES) {
      for (const field of await page.getByRole('searchbox').all()) await field.fill(probe);
    }
    await nothingStruck();
  }
  // A dot in the last part would ask for a file.
  const inPath = encodeURIComponent('<img src=x onerror=alert(1)>');
  for (const path of [`/mailboxes/${inPath}`, `/${inPath}`, `/?x=${PROBES[0]}#${PROBES[1]}`]) {
    await page.goto(path);
    await page.locator('h1').waitFor();
    await nothingStruck();
  }
  await page.goto('/proxy');
  for (const probe of PROBES) {
    await page.getByLabel('User name in the mail client').fill(probe);
    await page.getByRole('button', { name: 'Go', exact: true }).click();
    await page.getByText('It ends here.').waitFor();
    await nothingStruck();
  }
  await page.goto('/certificate');
  await page.getByRole('tab', { name: 'Self-signed' }).click();
  for (const probe of PROBES) {
    // A space would begin the next name.
    const name = probe.replaceAll(' ', '/');
    await page.getByLabel('Names in the certificate').and(page.locator('input')).fill(name);
    await page.keyboard.press('Enter');
    await page.getByText(name, { exact: true }).waitFor();
    await nothingStruck();
  }
  await page.goto('/settings');
  await page.getByRole('textbox', { name: 'host_name' }).fill(PROBES[1] ?? '');
  await page.getByRole('button', { name: 'Check and apply …' }).click();
  await page.getByRole('dialog').getByRole('alert').waitFor();
  await nothingStruck();
});

it('runs no script and takes no style that is not its own', async () => {
  const { page } = admin;
  await page.goto('/');
  await page.locator('h1').waitFor();
  const policy = (await page.request.get('/')).headers()['content-security-policy'] ?? '';
  expect(policy).not.toContain('unsafe');
  const ran = await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'globalThis.struck = 1';
    document.body.append(script);
    const style = document.createElement('style');
    style.textContent = 'h1 { color: rgb(1, 2, 3) !important }';
    document.head.append(style);
    const heading = document.querySelector('h1');
    return {
      struck: (globalThis as { struck?: number }).struck,
      colour: heading && getComputedStyle(heading).color,
    };
  });
  expect(ran.struck).toBeUndefined();
  expect(ran.colour).not.toBe('rgb(1, 2, 3)');
});

it('asks nobody but the gateway for anything', async () => {
  const { page } = admin;
  const asked = new Set<string>();
  page.on('request', (request) => asked.add(new URL(request.url()).origin));
  for (const path of ['/', '/mailboxes', '/documentation', '/account']) {
    await page.goto(path);
    await page.locator('h1').waitFor();
  }
  expect([...asked]).toEqual([gateway.url()]);
});
