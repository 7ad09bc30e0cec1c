// The websocket to Python and its frames; src/nelbo/studio/wire.py is the other end.

const ALIGN = 8;
const padding = (size) => (ALIGN - (size % ALIGN)) % ALIGN;

/** One frame of a JSON value and buffers. @returns {ArrayBuffer} */
export function pack(content, buffers = []) {
  const text = new TextEncoder().encode(JSON.stringify(content));
  const parts = buffers.map((b) =>
    ArrayBuffer.isView(b) ? new Uint8Array(b.buffer, b.byteOffset, b.byteLength) : new Uint8Array(b),
  );
  const head = 8 + 4 * parts.length;
  let size = head + text.length;
  const starts = parts.map((part) => {
    const start = size + padding(size);
    size = start + part.length;
    return start;
  });
  const frame = new Uint8Array(size);
  const numbers = new DataView(frame.buffer);
  numbers.setUint32(0, text.length, true);
  numbers.setUint32(4, parts.length, true);
  parts.forEach((part, i) => {
    numbers.setUint32(8 + 4 * i, part.length, true);
    frame.set(part, starts[i]);
  });
  frame.set(text, head);
  return frame.buffer;
}

/** The JSON value and the buffers of a frame. */
export function unpack(frame) {
  const numbers = new DataView(frame);
  const size = numbers.getUint32(0, true);
  const count = numbers.getUint32(4, true);
  let start = 8 + 4 * count;
  const content = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, start, size)));
  start += size;
  const buffers = [];
  for (let i = 0; i < count; i++) {
    const length = numbers.getUint32(8 + 4 * i, true);
    start += padding(start);
    buffers.push(new DataView(frame, start, length));
    start += length;
  }
  return [content, buffers];
}

/**
 * A transport for `localModel` that connects when first used, and again after a break.
 * @param {string} url
 * @param {(content: Object, buffers: DataView[]) => void} receive
 * @param {(connected: boolean) => void} [changed]
 */
export function websocket(url, receive, changed = () => {}) {
  let socket = null;
  let wanted = false;
  let delay = 250;
  let timer = 0;
  const waiting = [];
  const asked = new Set(); // ids of questions under way
  const connect = () => {
    clearTimeout(timer);
    wanted = true;
    socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      delay = 250;
      changed(true);
      for (const frame of waiting.splice(0)) socket.send(frame);
    };
    socket.onmessage = (event) => {
      const [content, buffers] = unpack(event.data);
      asked.delete(content.id);
      receive(content, buffers);
    };
    socket.onclose = () => {
      socket = null;
      if (!wanted) return;
      changed(false);
      for (const id of asked) receive({ id, error: "the studio does not answer; is it still running?" }, []);
      asked.clear();
      waiting.length = 0;
      timer = setTimeout(connect, (delay = Math.min(4000, 2 * delay)));
    };
  };
  return {
    connect: () => socket ?? connect(),
    send(content, buffers) {
      if (content.id !== undefined) asked.add(content.id);
      const frame = pack(content, buffers);
      if (socket?.readyState === WebSocket.OPEN) socket.send(frame);
      else {
        waiting.push(frame);
        if (!socket) connect();
      }
    },
    close() {
      wanted = false;
      clearTimeout(timer);
      socket?.close();
    },
  };
}
