// A gateway of this build in a directory of its own, on ports that the system chooses.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const BINARY =
  process.env.POSTERN_GATEWAY_BINARY ?? fileURLToPath(new URL('../../target/debug/postern-gateway', import.meta.url));
const PATIENCE_MS = 60_000;

interface Status {
  running: boolean;
  listening: Record<string, string[]>;
}

export class Gateway {
  readonly #dir: string;
  readonly #daemon: ChildProcess;

  private constructor(dir: string, daemon: ChildProcess) {
    this.#dir = dir;
    this.#daemon = daemon;
  }

  /** Starts one; `more` is put behind its configuration. */
  static async start(more = ''): Promise<Gateway> {
    const dir = mkdtempSync(join(tmpdir(), 'postern-e2e-'));
    const listeners = ['smtp', 'smtps', 'submission', 'pop3', 'pop3s', 'console'];
    const config = [
      'email_domain = "gateway.example.com"',
      'host_name = "localhost"',
      `data_dir = "${dir}/data"`,
      '[listen]',
      ...listeners.map((name) => `${name} = "127.0.0.1:0"`),
      more,
    ];
    writeFileSync(join(dir, 'config.toml'), `${config.join('\n')}\n`);
    const log = openSync(join(dir, 'log'), 'a');
    const daemon = spawn(BINARY, ['--config', join(dir, 'config.toml'), 'serve'], { stdio: ['ignore', log, log] });
    const gateway = new Gateway(dir, daemon);
    await until(() => daemon.exitCode !== null || gateway.#status()?.running === true, gateway.log.bind(gateway));
    if (daemon.exitCode !== null) throw new Error(`the gateway ended at once:\n${gateway.log()}`);
    return gateway;
  }

  /** What a command of the program answers. */
  run(...args: string[]): unknown {
    const all = ['--json', '--config', join(this.#dir, 'config.toml'), ...args];
    return JSON.parse(execFileSync(BINARY, all, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  #status(): Status | null {
    try {
      return this.run('status') as Status;
    } catch {
      return null;
    }
  }

  port(listener: string): number {
    const address = this.#status()?.listening[listener]?.[0];
    if (!address) throw new Error(`${listener} is not open:\n${this.log()}`);
    return Number(address.split(':').at(-1));
  }

  /** Changes the configuration file, as somebody on the gateway's machine would. */
  rewrite(change: (text: string) => string): void {
    const file = join(this.#dir, 'config.toml');
    writeFileSync(file, change(readFileSync(file, 'utf8')));
  }

  url(): string {
    return `https://localhost:${this.port('console')}`;
  }

  log(): string {
    return readFileSync(join(this.#dir, 'log'), 'utf8');
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#daemon.once('exit', resolve));
    if (this.#daemon.exitCode === null) {
      this.#daemon.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** Waits until something is so. */
export async function until(isSo: () => boolean, tell: () => string): Promise<void> {
  const begun = Date.now();
  while (!isSo()) {
    if (Date.now() - begun > PATIENCE_MS) throw new Error(`it did not come to that:\n${tell()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
