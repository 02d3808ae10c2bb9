// A provider of accounts that take no passwords (OAuth 2.0), whose owner consents when the test says so.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Provider {
  /** Whether the owner of the account has consented. */
  consented = false;
  readonly #server: Server;
  readonly #fingerprint: string;

  private constructor(key: Buffer, cert: Buffer) {
    this.#fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(':', '').toLowerCase();
    this.#server = createServer({ key, cert }, (request, response) => {
      let asked = '';
      request.on('data', (piece: Buffer) => {
        asked += piece.toString();
      });
      request.on('end', () => {
        const [status, body] = this.#answer(request.url ?? '', new URLSearchParams(asked));
        response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
      });
    });
  }

  static async start(): Promise<Provider> {
    const dir = mkdtempSync(join(tmpdir(), 'postern-provider-'));
    const [key, cert] = [join(dir, 'key'), join(dir, 'cert')];
    const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30'];
    const named = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    execFileSync('openssl', [...made, ...named, '-keyout', key, '-out', cert], { stdio: 'pipe' });
    const provider = new Provider(readFileSync(key), readFileSync(cert));
    rmSync(dir, { recursive: true });
    await new Promise<void>((resolve) => provider.#server.listen(0, '127.0.0.1', resolve));
    return provider;
  }

  #answer(path: string, asked: URLSearchParams): [status: number, body: object] {
    if (path === '/device') {
      const page = `${this.#at()}/consent`;
      const where = { verification_uri: page, verification_uri_complete: `${page}?code=WDJB-MJHT` };
      return [
        200,
        { device_code: 'device-code-of-a-test', user_code: 'WDJB-MJHT', ...where, expires_in: 600, interval: 1 },
      ];
    }
    const isCode = asked.get('grant_type') === 'authorization_code';
    if (!isCode && !this.consented) return [400, { error: 'authorization_pending' }];
    return [
      200,
      {
        access_token: 'access-token-of-a-test',
        refresh_token: 'refresh-token-of-a-test',
        token_type: 'Bearer',
        expires_in: 3600,
      },
    ];
  }

  #at(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The table of the gateway's configuration that leads here. */
  settings(): string {
    return [
      '[[proxy.provider]]',
      'name = "example"',
      'client_id = "gateway"',
      'client_secret = "shared-with-the-gateway"',
      'scopes = ["mail"]',
      `authorization_endpoint = "${this.#at()}/auth"`,
      `token_endpoint = "${this.#at()}/token"`,
      `device_endpoint = "${this.#at()}/device"`,
      `trust = "sha256:${this.#fingerprint}"`,
    ].join('\n');
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
