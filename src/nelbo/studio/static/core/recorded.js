// Answers that were asked for when a file or a site was written: what stands in for Python there.

import { unpack } from "./link.js";

/**
 * A transport for `localModel`.
 * @param {(question: string) => Promise<?ArrayBuffer>} find the packed answer to a question: its kind, a space, and the
 *   JSON of the rest with sorted keys; null where there is none
 * @param {(content: Object, buffers: DataView[]) => void} receive
 * @param {string} missing what a reader is told where there is none
 */
export function recorded(find, receive, missing) {
  return {
    connect() {},
    close() {},
    async send({ id, kind, ...content }) {
      try {
        const found = await find(`${kind} ${sorted(content)}`);
        if (!found) return receive({ id, kind, error: missing }, []);
        const [answer, buffers] = unpack(found);
        return receive({ ...answer, id, kind }, buffers);
      } catch (error) {
        return receive({ id, kind, error: String(error.message ?? error) }, []);
      }
    },
  };
}

function sorted(value) {
  if (Array.isArray(value)) return `[${value.map(sorted).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${sorted(value[key])}`)
    .join(",")}}`;
}
