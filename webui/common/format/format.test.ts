import { expect, it } from 'vitest';
import { ago, bytes, duration, rate } from './format';
import { parseSize, sizeText } from './sizes';

it('writes sizes as the language does', () => {
  expect(bytes('en', 0)).toBe('0 B');
  expect(bytes('en', 1536)).toBe('1.5 KiB');
  expect(bytes('de', 1536)).toBe('1,5 KiB');
  expect(bytes('en', 200 * 1024 ** 2)).toBe('200 MiB');
});

it('writes small rates with digits and large ones without', () => {
  expect([rate('en', 0), rate('en', 0.123), rate('en', 3.14), rate('en', 1234.5)]).toEqual([
    '0',
    '0.12',
    '3.1',
    '1,235',
  ]);
});

it('writes how long ago something was', () => {
  const now = 1_800_000_000_000;
  expect(ago('en', now - 5_000, now)).toBe('now');
  expect(ago('en', now - 3 * 60_000, now)).toBe('3 min. ago');
  expect(ago('de', now - 2 * 86_400_000, now)).toBe('vorgestern');
});

it('writes durations in their two largest parts', () => {
  expect(duration('en', 59)).toBe('59 seconds');
  expect(duration('en', 2 * 86_400 + 3 * 3600 + 60)).toBe('2 days 3 hours');
});

it('reads sizes as people type them, and refuses the rest', () => {
  const read = ['200 MiB', '1,5 GB', '4096', '10k', ''].map(parseSize);
  expect(read).toEqual([200 * 1024 ** 2, 1_500_000_000, 4096, 10_240, null]);
  for (const wrong of ['much', '-5', '5 XB', '0', '1.2.3', '99999999 TiB'])
    expect(parseSize(wrong), wrong).toBeUndefined();
});

it('gives back the size that was typed', () => {
  for (const octets of [1, 1000, 1024, 25 * 1024 ** 2, 3 * 1024 ** 3]) expect(parseSize(sizeText(octets))).toBe(octets);
  expect(sizeText(25 * 1024 ** 2)).toBe('25 MiB');
});
