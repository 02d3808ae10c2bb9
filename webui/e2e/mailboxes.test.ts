// The way of a mailbox, from its making to its end.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { launch, Person } from './browser';
import { Gateway } from './gateway';
import { deliver, drain } from './mail';

let gateway: Gateway;
let browser: Browser;
let admin: Person;
let password: string;

beforeAll(async () => {
  gateway = await Gateway.start();
  browser = await launch();
  admin = await Person.at(browser, gateway.url());
  password = await admin.firstSignIn();
});

afterAll(async () => {
  await browser?.close();
  await gateway?.stop();
});

it('is made, takes mail, is suspended, refuses, is drained and deleted', async () => {
  const { page } = admin;
  await admin.goTo('Mailboxes');
  await page.getByRole('button', { name: 'New mailbox' }).click();
  const form = page.getByRole('dialog', { name: 'New mailbox' });
  await form.getByRole('textbox', { name: 'Name', exact: true }).fill('Journal');
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('create');
  await form.getByRole('button', { name: 'Create mailbox' }).click();
  const shown = page.getByRole('dialog', { name: 'The mailbox is ready' });
  await shown.getByText('only key to the mail in this mailbox').waitFor();
  const ok = shown.getByRole('button', { name: 'OK', exact: true });
  expect(await ok.isDisabled()).toBe(true);
  await page.keyboard.press('Escape');
  expect(await shown.isVisible()).toBe(true);
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('mailbox-password');
  const [address = '', id = '', key = ''] = await shown.locator('code').allTextContents();
  await shown.getByLabel("I've read and understood the above warning").check();
  await ok.click();

  const count = page.getByTestId(`messages-${id}`);
  await page.getByTestId(`messages-${id}`).filter({ hasText: /^0$/ }).waitFor();
  expect(await deliver(gateway.port('smtp'), address)).toMatch(/^250/);
  await count.filter({ hasText: /^1$/ }).waitFor();
  await admin.goTo('Overview');
  await page.getByTestId('waiting').filter({ hasText: /^1$/ }).waitFor();
  await page.getByText('Live').waitFor();
  // The overview counts without being loaded anew.
  expect(await deliver(gateway.port('smtp'), address)).toMatch(/^250/);
  await page.getByTestId('waiting').filter({ hasText: /^2$/ }).waitFor();

  await page.goto(`/mailboxes/${id}`);
  await page.getByText('The mailbox is active: suspend it first. 2 messages wait in it').first().waitFor();
  expect(await page.getByRole('button', { name: 'Delete …' }).isDisabled()).toBe(true);
  expect(await page.getByRole('button', { name: 'Reset …' }).isDisabled()).toBe(true);
  await page.getByRole('button', { name: 'Actions' }).click();
  await page.getByRole('menuitem', { name: 'Suspend' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
  await page.getByText('Suspended', { exact: true }).waitFor();
  expect(await deliver(gateway.port('smtp'), address)).toMatch(/^[45]\d\d/);

  expect(await drain(gateway.port('pop3s'), id, key)).toBe(2);
  await page.getByTestId('messages').filter({ hasText: /^0$/ }).waitFor();

  await page.getByRole('button', { name: 'Reset …' }).click();
  await page.getByRole('button', { name: 'Make a new password' }).click();
  const renewed = page.getByRole('dialog', { name: 'New password' });
  await renewed.waitFor();
  const changed = (await renewed.locator('code').allTextContents()).at(-1);
  expect(changed).not.toBe(key);
  await renewed.getByLabel("I've read and understood the above warning").check();
  await renewed.getByRole('button', { name: 'OK', exact: true }).click();

  await page.getByRole('button', { name: 'Delete …' }).click();
  const last = page.getByRole('dialog', { name: 'Delete the mailbox' });
  expect(await last.getByRole('button', { name: 'Delete for good' }).isDisabled()).toBe(true);
  await last.getByLabel("To confirm, type the mailbox's name").fill('Journal');
  await last.getByRole('button', { name: 'Delete for good' }).click();
  await page.getByText('There is no mailbox yet').waitFor();
});

it('shows each step of a test message, also the one that fails', async () => {
  const { page } = admin;
  await page.goto('/mailboxes');
  const { id } = await admin.createMailbox('Tested');
  await page.goto(`/mailboxes/${id}`);
  await page.getByRole('button', { name: 'Test message' }).click();
  await page.getByRole('button', { name: 'Send test message' }).click();
  await page.getByText('The message has arrived').waitFor();
  expect(await page.getByText('(done)').count()).toBe(7);
  expect(await admin.accessibilityProblems()).toEqual([]);
  await admin.picture('test-message');
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
  await page.getByTestId('messages').filter({ hasText: /^1$/ }).waitFor();
  await page.getByRole('button', { name: 'Actions' }).click();
  await page.getByRole('menuitem', { name: 'Suspend' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Suspend' }).click();
  await page.getByText('Suspended', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Test message' }).click();
  await page.getByRole('button', { name: 'Send test message' }).click();
  await page.getByText('The message was not taken.').waitFor();
  await page.getByText('(failed)').waitFor();
});

it('keeps a policy, and says what is no size', async () => {
  const { page } = admin;
  await page.goto('/mailboxes');
  const { id, address } = await admin.createMailbox('Strict');
  await page.goto(`/mailboxes/${id}?tab=policy`);
  await page.getByLabel('Longest message').fill('much');
  await page.getByText('That is no size.').waitFor();
  await page.getByLabel('Longest message').fill('25 MiB');
  await page.getByLabel('Networks that may send').and(page.locator('input')).fill('192.0.2.0/24 ');
  await page.getByLabel('Only under TLS').check();
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').or(page.getByRole('alert')).waitFor();
  expect(await page.getByRole('alert').allInnerTexts()).toEqual([]);
  await page.reload();
  expect(await page.getByLabel('Longest message').inputValue()).toBe('25 MiB');
  await page.getByText('192.0.2.0/24').waitFor();
  expect(await deliver(gateway.port('smtp'), address)).toMatch(/^5/);
});

it('is seen by two administrators at once, the second with less to do', async () => {
  const { page } = admin;
  await page.goto('/administrators');
  await page.getByRole('button', { name: 'New administrator' }).click();
  const form = page.getByRole('dialog', { name: 'New administrator' });
  await form.getByLabel('User name').fill('vera');
  await form.getByLabel('Role', { exact: true }).click();
  await page.getByRole('option', { name: 'Viewer' }).click();
  await form.getByRole('button', { name: 'New administrator' }).click();
  const shown = page.getByRole('dialog', { name: 'Password to hand over' });
  await shown.waitFor();
  const given = (await shown.locator('code').allTextContents()).at(-1) ?? '';
  await shown.getByLabel('I have stored the password, or handed it over').check();
  await shown.getByRole('button', { name: 'OK', exact: true }).click();

  const vera = await Person.at(browser, gateway.url());
  await vera.signIn('vera', given);
  await vera.page.getByText('Your password was made for you by somebody else').waitFor();
  expect(await vera.page.getByRole('link', { name: 'Settings' }).count()).toBe(0);
  await vera.goTo('Mailboxes');
  expect(await vera.page.getByRole('button', { name: 'New mailbox' }).count()).toBe(0);

  await page.goto('/mailboxes');
  await admin.createMailbox('Seen by both');
  await vera.page.getByText('Seen by both').waitFor();

  await page.goto('/administrators');
  await page.getByRole('button', { name: 'Actions for vera' }).click();
  await page.getByRole('menuitem', { name: 'Sign out everywhere' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Sign out everywhere' }).click();
  await vera.page.getByText('Your session has ended.').waitFor();
  expect(vera.complaints).toEqual([]);
  await vera.leave();
});

it('speaks German at once, and remembers it', async () => {
  const { page } = admin;
  await page.goto('/mailboxes');
  await page.getByRole('button', { name: /Menu of admin/ }).click();
  await page.getByRole('menuitem', { name: 'Deutsch' }).click();
  await page.getByRole('heading', { name: 'Postfächer', level: 1 }).waitFor();
  expect(await page.locator('html').getAttribute('lang')).toBe('de');
  await page.reload();
  await page.getByRole('heading', { name: 'Postfächer', level: 1 }).waitFor();
  await page.getByRole('button', { name: /Menü von admin/ }).click();
  await page.getByRole('menuitem', { name: 'English' }).click();
  await page.getByRole('heading', { name: 'Mailboxes', level: 1 }).waitFor();
});

it('can be made on a phone, and by keyboard alone', async () => {
  const phone = await Person.at(browser, gateway.url(), { phone: true });
  await phone.signIn('admin', password);
  await phone.page.getByRole('button', { name: 'Open navigation' }).click();
  await phone.page.getByRole('link', { name: 'Mailboxes', exact: true }).click();
  await phone.page.getByRole('heading', { name: 'Mailboxes', level: 1 }).waitFor();
  await phone.createMailbox('From a phone');
  await phone.page.getByText('From a phone', { exact: true }).waitFor();
  await phone.leave();

  const { page } = admin;
  await page.goto('/mailboxes');
  await page.getByRole('button', { name: 'New mailbox' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('dialog', { name: 'New mailbox' }).getByRole('textbox', { name: 'Name', exact: true }).waitFor();
  await page
    .locator(':focus')
    .and(page.getByRole('textbox', { name: 'Name', exact: true }))
    .waitFor();
  await page.keyboard.type('By keyboard');
  await page.keyboard.press('Enter');
  const shown = page.getByRole('dialog', { name: 'The mailbox is ready' });
  await shown.waitFor();
  await shown.getByLabel("I've read and understood the above warning").focus();
  await page.keyboard.press('Space');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await shown.waitFor({ state: 'hidden' });
  await page.getByText('By keyboard', { exact: true }).waitFor();
  expect(admin.complaints).toEqual([]);
});
