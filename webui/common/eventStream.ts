// Server-sent events (HTML §9.2) over fetch: unlike EventSource it sends headers, takes POST, and tells an answer's status.

export interface Sent {
  event: string;
  data: string;
}

/** Cuts text into events; what is not whole yet stays inside. */
export class EventReader {
  #rest = '';

  read(piece: string): Sent[] {
    this.#rest += piece;
    const found: Sent[] = [];
    for (;;) {
      const end = /\r\n\r\n|\n\n|\r\r/.exec(this.#rest);
      if (!end) return found;
      const block = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      const sent = parse(block);
      if (sent) found.push(sent);
    }
  }
}

function parse(block: string): Sent | null {
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    if (field === 'data') data.push(value);
  }
  return data.length > 0 ? { event, data: data.join('\n') } : null;
}

/** Hands each event over until the stream ends. An answer that is no success is thrown as the `Response` it is. */
export async function readEvents(url: string, request: RequestInit, take: (sent: Sent) => void): Promise<void> {
  const response = await fetch(url, request);
  if (!response.ok || !response.body) throw response;
  const reader = new EventReader();
  const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await text.read();
    if (done) return;
    for (const sent of reader.read(value)) take(sent);
  }
}
