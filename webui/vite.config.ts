// Builds the console's pages into dist/, from where gateway/src/console/assets.rs takes them into the binary.
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here('console'),
  plugins: [react()],
  resolve: { alias: { '@common': here('common'), '@console': here('console') } },
  // The gateway puts a fresh random value in its place each time it serves index.html.
  html: { cspNonce: 'POSTERN_NONCE' },
  build: {
    outDir: here('dist'),
    emptyOutDir: true,
    target: 'es2022',
    // Fonts come from 'self' only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
    reportCompressedSize: false,
  },
  // `npm run dev` against a gateway that runs elsewhere: POSTERN_CONSOLE=https://127.0.0.1:8450 npm run dev
  server: {
    proxy: {
      '/api': { target: process.env.POSTERN_CONSOLE ?? 'https://127.0.0.1:8450', secure: false },
    },
  },
  test: {
    root: here('.'),
    include: ['common/**/*.test.{ts,tsx}', 'console/**/*.test.{ts,tsx}', 'checks/**/*.test.ts'],
    environment: 'happy-dom',
  },
});
