// Tests in a browser, against the real binary.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: fileURLToPath(new URL('.', import.meta.url)),
    include: ['**/*.test.ts'],
    environment: 'node',
    // On a quiet machine each takes seconds; a busy one is no failure.
    testTimeout: 400_000,
    hookTimeout: 200_000,
    // A browser and a gateway each: more at once make nothing faster.
    maxWorkers: 2,
  },
});
