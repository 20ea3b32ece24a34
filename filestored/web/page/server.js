// Requests to the server, and the meaning of its statuses.

import { parse } from "./storage.js";
import { TEXTS } from "./texts.js";

export const CANCELLED = -1;
export const NO_ANSWER = 0;
/** What the page uses as statuses besides those of HTTP. */

/** The address of the service: pages of buckets have addresses below it. */
export const ROOT = new URL("../", import.meta.url).href;

export const address = (path) => new URL(path, ROOT).href;
export const succeeded = (status) => status >= 200 && status < 300;

/** Send a request. Return its `status`, the JSON `value` if there is one, and the `response`. */
export async function ask(path, method = "GET", headers = {}) {
  try {
    const fields = { Accept: "application/json", ...headers };
    const response = await fetch(address(path), { method, headers: fields, credentials: "omit" });
    const is_json = /[/+]json/.test(response.headers.get("Content-Type") ?? "");
    return { status: response.status, value: is_json ? parse(await response.text()) : null, response };
  } catch {
    return { status: NO_ANSWER, value: null };
  }
}

/** Return true when the server answers at all. */
export const is_reachable = async () => (await ask("health")).status !== NO_ANSWER;

/**
 * Send a body. `on_progress` is called with the share that was sent. The promise has a method `cancel`, and its
 * value `retry_after`: the seconds that the server asks to wait, or null.
 */
export function send(path, method, body, on_progress, headers = {}) {
  const request = new XMLHttpRequest();
  const answer = new Promise((resolve) => {
    const end = (status) => () => resolve({ status, value: null, retry_after: null });
    request.onload = () =>
      resolve({
        status: request.status,
        value: parse(request.responseText),
        retry_after: seconds_of(request.getResponseHeader("Retry-After")),
      });
    request.onerror = end(NO_ANSWER);
    request.onabort = end(CANCELLED);
    request.upload.onprogress = ({ loaded, total }) => on_progress(total ? loaded / total : 1);
    request.open(method, address(path));
    const fields = { Accept: "application/json", ...headers };
    for (const [name, value] of Object.entries(fields)) request.setRequestHeader(name, value);
    if (!(body instanceof FormData)) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(body);
  });
  answer.cancel = () => request.abort();
  return answer;
}

const MAX_WAIT_SECONDS = 600;

/** Return the seconds of a Retry-After field: it holds a number or a date. */
function seconds_of(field) {
  if (!field) return null;
  const seconds = /^\d+$/.test(field.trim()) ? Number(field) : (Date.parse(field) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? null : Math.min(Math.max(Math.ceil(seconds), 1), MAX_WAIT_SECONDS);
}

/** Return true when the same request may succeed later. */
export const may_succeed_later = (status) =>
  status <= NO_ANSWER || status === 408 || status === 429 || (status >= 500 && status !== 501 && status !== 505);

/** Return the key and the values of the text for a failure. `subject` selects a more exact text. */
export function failure_text({ status, value }, subject) {
  if (status === CANCELLED) return ["cancelled", {}];
  const says = (word) => JSON.stringify(value ?? "").toLowerCase().includes(word);
  const heic = status === 406 && says("heic") ? "error_406_heic" : "";
  const quota = status === 507 && says("quota") ? "error_507_quota" : "";
  const same = { 504: 502, 429: 503 }[status] ?? status;
  const keys = [heic, quota, `error_${same}_${subject}`, `error_${same}`];
  const key = keys.find((each) => Object.hasOwn(TEXTS.en, each));
  return key ? [key, {}] : ["error_other", { status: () => String(status) }];
}
