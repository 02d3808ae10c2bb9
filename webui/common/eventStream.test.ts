import { expect, it } from 'vitest';
import { EventReader } from './eventStream';

const STREAM = ': hello\n\nevent: step\ndata: {"a":1}\n\ndata: one\r\ndata:two\r\n\r\nevent: empty\n\n';

it('reads events wherever the stream is cut', () => {
  const expected = [
    { event: 'step', data: '{"a":1}' },
    { event: 'message', data: 'one\ntwo' },
  ];
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    const reader = new EventReader();
    expect([...reader.read(STREAM.slice(0, cut)), ...reader.read(STREAM.slice(cut))], `cut at ${cut}`).toEqual(
      expected,
    );
  }
});

it('keeps what is not whole yet', () => {
  const reader = new EventReader();
  expect(reader.read('data: begun')).toEqual([]);
  expect(reader.read('\n\n')).toEqual([{ event: 'message', data: 'begun' }]);
});
