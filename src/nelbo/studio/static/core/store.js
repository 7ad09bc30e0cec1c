// The one model contract of all hosts, that of anywidget: get, set, save_changes, on, off, send, and events
// "change:NAME", "change" and "msg:custom". Jupyter brings its own; this is the studio's and the one-file export's.

import { coalesced } from "./dom.js";

const same = (a, b) => a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));

/** @import { Answer, LocalModel, Model, State } from "./types.js" */

/**
 * A model that lives in this page.
 * @param {State} defaults
 * @param {{send: (content: any, buffers: (ArrayBuffer|ArrayBufferView)[]) => void}} [transport] carries `send`; what it
 *   receives is passed to `model.receive`
 * @returns {LocalModel}
 */
export function localModel(defaults, transport) {
  const values = structuredClone(defaults);
  const listeners = new Map();
  const emit = (event, ...rest) => {
    for (const callback of [...(listeners.get(event) ?? [])]) callback(...rest);
  };
  return {
    get: (name) => values[name],
    set(name, value) {
      if (same(values[name], value)) return;
      values[name] = value;
      emit(`change:${name}`);
      emit("change");
    },
    save_changes() {},
    on(event, callback) {
      for (const one of event.split(" ")) listeners.set(one, (listeners.get(one) ?? new Set()).add(callback));
    },
    off(event, callback) {
      for (const one of event.split(" ")) callback ? listeners.get(one)?.delete(callback) : listeners.delete(one);
    },
    send: (content, _callbacks, buffers = []) => transport?.send(content, buffers),
    receive: (content, buffers) => emit("msg:custom", content, buffers),
  };
}

/** The values of all names as one object. @param {Model} model @param {string[]} names @returns {State} */
export function read(model, names) {
  return Object.fromEntries(names.map((name) => [name, model.get(name)]));
}

const saving = new WeakMap();
const PAUSE = 50; // ms between two messages to a notebook's kernel during a drag

/** Set several values at once and hand them to the host, at most 20 times a second. @param {Model} model @param {State} changes */
export function write(model, changes) {
  for (const [name, value] of Object.entries(changes)) model.set(name, value);
  if (saving.has(model)) return;
  saving.set(
    model,
    setTimeout(() => {
      saving.delete(model);
      model.save_changes();
    }, PAUSE),
  );
}

/**
 * Hear of every change of these values.
 * @param {Model} model
 * @param {string[]} names
 * @param {() => void} changed
 * @returns {() => void} ends it
 */
export function onChange(model, names, changed) {
  for (const name of names) model.on(`change:${name}`, changed);
  return () => names.forEach((name) => model.off(`change:${name}`, changed));
}

/**
 * Draw now, and again in the next frame whenever one of the values changes.
 * @param {Model} model
 * @param {string[]} names
 * @param {() => void} draw
 * @returns {(() => void) & {stop: () => void}} asks for a drawing
 */
export function watch(model, names, draw) {
  const request = coalesced(draw);
  const leave = onChange(model, names, request);
  draw();
  return Object.assign(request, {
    stop() {
      request.cancel();
      leave();
    },
  });
}

let last = 0;

/**
 * Ask Python: one question, one answer.
 * @param {Model} model
 * @param {string} kind as in "inspect.decode"; `nelbo.studio.session.answers` registers who answers
 * @param {object} [content]
 * @param {(ArrayBuffer|ArrayBufferView)[]} [buffers]
 * @returns {Promise<Answer>} rejects with the error's text
 */
export function ask(model, kind, content = {}, buffers = []) {
  const id = ++last;
  return new Promise((resolve, reject) => {
    const heard = (answer, parts = []) => {
      if (answer?.id !== id) return;
      model.off("msg:custom", heard);
      answer.error === undefined ? resolve({ content: answer, buffers: parts }) : reject(new Error(answer.error));
    };
    model.on("msg:custom", heard);
    model.send({ ...content, kind, id }, undefined, buffers);
  });
}

/**
 * Ask again and again with one question in flight: newest wins, answers that are overtaken are dropped.
 * @param {Model} model
 * @param {string} kind
 * @param {(answer: Answer) => void} answered
 * @param {(error: Error) => void} [failed]
 * @returns {(content: object, buffers?: (ArrayBuffer|ArrayBufferView)[]) => void}
 */
export function asking(model, kind, answered, failed = () => {}) {
  let busy = false;
  let next = null;
  const go = async (content, buffers) => {
    busy = true;
    try {
      const answer = await ask(model, kind, content, buffers);
      if (!next) answered(answer);
    } catch (error) {
      if (!next) failed(error);
    }
    busy = false;
    if (next) {
      const waiting = next;
      next = null;
      go(...waiting);
    }
  };
  return (content, buffers = []) => {
    if (busy) next = [content, buffers];
    else go(content, buffers);
  };
}

/**
 * Events that Python sends by itself (`Session.tell`).
 * @param {Model} model
 * @param {string} event
 * @param {(content: any, buffers: DataView[]) => void} callback
 * @returns {() => void} ends it
 */
export function hear(model, event, callback) {
  const heard = (content, buffers) => content?.event === event && callback(content, buffers ?? []);
  model.on("msg:custom", heard);
  return () => model.off("msg:custom", heard);
}

/** A buffer of an answer as numbers; hosts give DataView or ArrayBuffer. @param {ArrayBuffer|ArrayBufferView} buffer */
export function floats(buffer, Type = Float32Array) {
  const view = ArrayBuffer.isView(buffer) ? buffer : new DataView(buffer);
  if (view.byteOffset % Type.BYTES_PER_ELEMENT === 0)
    return new Type(view.buffer, view.byteOffset, view.byteLength / Type.BYTES_PER_ELEMENT);
  return new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}
