// Puts name.br and name.gz beside each built file that gains by it; the gateway serves them to who takes them.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const GAINS = /\.(js|css|svg|json|txt|webmanifest)$/;
const dist = new URL('../dist', import.meta.url).pathname;

for (const entry of readdirSync(dist, { recursive: true })) {
  const path = join(dist, entry);
  if (!GAINS.test(path) || !statSync(path).isFile() || statSync(path).size < 1024) continue;
  const plain = readFileSync(path);
  const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
  writeFileSync(`${path}.br`, brotliCompressSync(plain, { params: quality }));
  writeFileSync(`${path}.gz`, gzipSync(plain, { level: 9 }));
}
