import { describe, expect, it } from 'vitest';
import { firstLanguage, loadersByCode, nameOf } from './language';

describe('the language to begin with', () => {
  it('is the one chosen before, then the first of the browser’s that there is, then English', () => {
    expect(firstLanguage(['de', 'en'], 'de', ['en-GB'])).toBe('de');
    expect(firstLanguage(['de', 'en'], 'xx', ['fr-CH', 'de-AT', 'en'])).toBe('de');
    expect(firstLanguage(['de', 'en'], null, ['fr'])).toBe('en');
  });

  it('comes from the names of files', async () => {
    const loaders = loadersByCode({ './languages/de.json': async () => ({ default: { a: 'b' } }) });
    expect(await loaders.de?.()).toEqual({ a: 'b' });
    expect([nameOf('de'), nameOf('en')]).toEqual(['Deutsch', 'English']);
  });
});
