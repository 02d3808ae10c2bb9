// Every page in each of its looks: nothing that hurts accessibility, nothing refused by the policy, a picture of each.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Looks, launch, Person } from './browser';
import { Gateway } from './gateway';
import { deliver } from './mail';

let gateway: Gateway;
let browser: Browser;
let password: string;
let mailbox: { id: string; address: string; password: string };

beforeAll(async () => {
  gateway = await Gateway.start();
  browser = await launch();
  const admin = await Person.at(browser, gateway.url());
  await admin.picture('first-sign-in');
  password = await admin.firstSignIn();
  await admin.goTo('Mailboxes');
  mailbox = await admin.createMailbox('Head office', 'Journal of the Exchange server in Vienna');
  const names: [string, string][] = [
    ['Branch Graz', 'Postfix, all recipients'],
    ['Google Workspace', 'Third-party archiving of example.org'],
    ['Subsidiary Linz', 'Microsoft 365 journal rule'],
    ['Mail clients', 'What the sales team sends and fetches through the proxy'],
  ];
  for (const [name, description] of names) {
    const made = gateway.run('mailbox', 'create', '--name', name, '--description', description) as { address: string };
    for (let count = name.length % 4; count > 0; count -= 1) await deliver(gateway.port('smtp'), made.address);
  }
  for (let count = 0; count < 7; count += 1) await deliver(gateway.port('smtp'), mailbox.address);
  await deliver(gateway.port('smtp'), 'mbx-0000000000000000@gateway.example.com');
  await admin.leave();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
});

const PAGES: [name: string, path: () => string][] = [
  ['overview', () => '/'],
  ['mailboxes', () => '/mailboxes'],
  ['mailbox', () => `/mailboxes/${mailbox.id}`],
  ['mailbox-connect', () => `/mailboxes/${mailbox.id}?tab=connect`],
  ['mailbox-policy', () => `/mailboxes/${mailbox.id}?tab=policy`],
  ['activity', () => '/activity'],
  ['audit', () => '/activity?tab=audit'],
  ['settings', () => '/settings'],
  ['certificate', () => '/certificate'],
  ['proxy', () => '/proxy'],
  ['bindings', () => '/proxy?tab=accounts'],
  ['doctor', () => '/doctor'],
  ['administrators', () => '/administrators'],
  ['account', () => '/account'],
  ['tokens', () => '/tokens'],
  ['documentation', () => '/documentation'],
  ['lost', () => '/no/such/page'],
];

const LOOKS: [name: string, looks: Looks][] = [
  ['light', {}],
  ['dark', { dark: true }],
  ['phone', { phone: true }],
  ['german', { language: 'de' }],
];

describe.each(LOOKS)('%s', (look, looks) => {
  it('shows every page as it should be', async () => {
    const person = await Person.at(browser, gateway.url(), looks);
    const found: string[] = [];
    const check = async (name: string) => {
      for (const problem of await person.accessibilityProblems()) found.push(`${name}: ${problem}`);
      await person.picture(`${name}-${look}`);
    };
    await person.page.getByRole('button', { name: /^(Sign in|Anmelden)$/ }).waitFor();
    await check('sign-in');
    await person.signIn('admin', password);
    for (const [name, path] of PAGES) {
      await person.page.goto(path());
      await person.page.locator('h1').waitFor();
      await person.page.locator('[class*="Skeleton"]').first().waitFor({ state: 'detached' });
      await check(name);
      const overflows = await person.page.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      );
      if (overflows) found.push(`${name}: wider than the screen`);
    }
    expect(found).toEqual([]);
    expect(person.complaints).toEqual([]);
    await person.leave();
  });
});
