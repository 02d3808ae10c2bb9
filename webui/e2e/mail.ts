// What a mail server and an archiver do: SMTP with STARTTLS in, POP3 over TLS out. No more than the tests need.
import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

class Dialogue {
  #socket: Socket;
  #text = '';
  #wake: () => void = () => undefined;
  #ended = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  #listen() {
    this.#socket.on('data', (piece: Buffer) => {
      this.#text += piece.toString('latin1');
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    this.#socket.on('close', end);
    this.#socket.on('error', end);
  }

  /** Everything up to a line of that form; that line. */
  async line(form: RegExp): Promise<string> {
    for (;;) {
      const found = this.#text
        .split('\r\n')
        .slice(0, -1)
        .find((line) => form.test(line));
      if (found !== undefined) {
        this.#text = this.#text.slice(this.#text.indexOf(found) + found.length + 2);
        return found;
      }
      if (this.#ended) throw new Error(`the connection was closed; it said: ${this.#text}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  say(line: string) {
    this.#socket.write(`${line}\r\n`, 'latin1');
  }

  async ask(line: string, form: RegExp): Promise<string> {
    this.say(line);
    return this.line(form);
  }

  async secure(): Promise<void> {
    this.#socket.removeAllListeners('data');
    const secured = connectTls({ socket: this.#socket, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve);
      secured.once('error', reject);
    });
    this.#socket = secured;
    this.#text = '';
    this.#listen();
  }

  end() {
    this.#socket.destroy();
  }
}

const FINAL = /^\d{3} /;

/** Hands a message over; the answer to it, or to the command that was refused. */
export async function deliver(port: number, to: string, subject = 'a message'): Promise<string> {
  const dialogue = new Dialogue(connectPlain(port, '127.0.0.1'));
  try {
    await dialogue.line(FINAL);
    await dialogue.ask('EHLO sender.example.com', FINAL);
    await dialogue.ask('STARTTLS', FINAL);
    await dialogue.secure();
    await dialogue.ask('EHLO sender.example.com', FINAL);
    await dialogue.ask('MAIL FROM:<sender@example.com>', FINAL);
    const recipient = await dialogue.ask(`RCPT TO:<${to}>`, FINAL);
    if (!recipient.startsWith('250')) return recipient;
    await dialogue.ask('DATA', FINAL);
    const answer = await dialogue.ask(`Subject: ${subject}\r\n\r\nhello\r\n.`, FINAL);
    dialogue.say('QUIT');
    return answer;
  } finally {
    dialogue.end();
  }
}

/** Pulls all messages of a mailbox and deletes them; how many they were. */
export async function drain(port: number, user: string, password: string): Promise<number> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  const dialogue = new Dialogue(socket);
  const ok = /^(\+OK|-ERR)/;
  const good = async (line: string) => {
    const answer = await dialogue.ask(line, ok);
    if (!answer.startsWith('+OK')) throw new Error(`${line.split(' ')[0]}: ${answer}`);
    return answer;
  };
  try {
    await dialogue.line(ok);
    await good(`USER ${user}`);
    await good(`PASS ${password}`);
    const count = Number((await good('STAT')).split(' ')[1]);
    for (let number = 1; number <= count; number += 1) {
      await good(`RETR ${number}`);
      await dialogue.line(/^\.$/);
      await good(`DELE ${number}`);
    }
    await good('QUIT');
    return count;
  } finally {
    dialogue.end();
  }
}
