// Access to the files: the token of this tab, the bucket of this page, and the rights in it.
//
// The token is in sessionStorage, so it ends with the tab. It is sent in a header; it is in no URL and not in the
// document. The page of a bucket has the address of the bucket.

import { ask_for_token } from "../elements.js";
import { ROOT, address, ask, failure_text, send } from "../server.js";
import { read_text, write_text } from "../storage.js";
import { sign } from "./signed_links.js";

const KEY = "filestored.token";
const TOKEN = /^[\x21-\x7e]{1,1024}$/;
const DEFAULT_BUCKET = "default";
const WITHOUT_ACCESS_FILE = new Map([[DEFAULT_BUCKET, ["delete", "read", "write"]]]);

/** The bucket of this page. */
export const bucket = bucket_of_page() ?? DEFAULT_BUCKET;

/** Return the path of something in this bucket, relative to the service. */
export const path_of = (path) => (bucket === DEFAULT_BUCKET ? path : `buckets/${bucket}/${path}`);

/** The address of this bucket, to which files are uploaded. */
export const bucket_address = () => address(path_of("./"));

let token = stored_token();
let takes_tokens = false;
let mine = WITHOUT_ACCESS_FILE;
let everyones = WITHOUT_ACCESS_FILE;
let server_ahead = 0;
const listeners = [];

function bucket_of_page() {
  const path = location.href.split(/[?#]/)[0].slice(ROOT.length);
  return /^buckets\/([^/]+)\/$/.exec(path)?.[1];
}

function stored_token() {
  const text = read_text("sessionStorage", KEY);
  return text !== null && TOKEN.test(text) ? text : null;
}

/** Return true when the user has a right in this bucket. */
export const can = (right) => rights_in(mine).includes(right);

/** Return true when everyone has a right in this bucket, without a token. */
export const is_public = (right) => rights_in(everyones).includes(right);

const rights_in = (buckets) => buckets.get(bucket) ?? [];

/** Return true when the user has any right in this bucket. */
export const is_visible = () => rights_in(mine).length > 0;
export const bucket_names = () => [...mine.keys()];
export const has_token = () => token !== null;
export const can_use_token = () => takes_tokens || !is_visible();

/** Call a function when the token or the rights have changed. */
export const on_access_change = (listener) => listeners.push(listener);

const summary = () => JSON.stringify([token, takes_tokens, [...mine], [...everyones]]);
let reported = summary();

function report() {
  if (summary() === reported) return;
  reported = summary();
  for (const listener of listeners) listener();
}

// --- the token -------------------------------------------------------------------------------------

let asking = null;

/** Ask for a token, once for all that wait for it. `reason` is the key of a text. Return true when one is valid. */
export function enter_token(reason = null) {
  asking ??= ask_for_token(reason, try_token).finally(() => { asking = null; });
  return asking;
}

/** Use a token if the server accepts it. Return null then, otherwise the key and the values of a text. */
async function try_token(text) {
  const answer = TOKEN.test(text) ? await ask("buckets/", "GET", authorization(text)) : { status: 401 };
  if (answer.status !== 200) return failure_text(answer, "token");
  token = text;
  write_text("sessionStorage", KEY, token);
  await use_rights(answer);
  return null;
}

export function forget_token() {
  token = null;
  write_text("sessionStorage", KEY, null);
  mine = everyones;
  report();
}

const authorization = (text = token) => (text === null ? {} : { Authorization: `Bearer ${text}` });

// --- the rights ------------------------------------------------------------------------------------

/** Read the buckets and the rights in them. A server without this knowledge is used as before. */
export async function load_access() {
  const answer = await ask("buckets/", "GET", authorization());
  if (answer.status === 200 && Array.isArray(answer.value?.buckets)) return use_rights(answer);
  if (answer.status !== 401) return;
  forget_token();
  await use_rights(await ask("buckets/"));
  await enter_token("token_ended");
}

async function use_rights(answer) {
  const other = token === null ? answer : await ask("buckets/");
  mine = rights_of(answer);
  everyones = rights_of(other);
  takes_tokens = answer.value?.tokens === true;
  const date = Date.parse(answer.response?.headers.get("Date"));
  server_ahead = Number.isNaN(date) ? 0 : date - Date.now();
  if (bucket_of_page() === undefined && !is_visible() && mine.size) open_bucket(bucket_names()[0]);
  report();
}

const rights_of = ({ value }) => new Map((value?.buckets ?? []).map((each) => [each.bucket, each.rights]));

/** Go to the page of another bucket. */
export function open_bucket(name) {
  location.assign(address(name === DEFAULT_BUCKET ? "./" : `buckets/${name}/`) + location.hash);
}

// --- requests --------------------------------------------------------------------------------------

/** Send a request with the token; the path is relative to the service. After 401 the page asks for a token. */
export const ask_with_token = (path, method) => until_allowed(() => ask(path, method, authorization()));

/** Send a request to this bucket. */
export const ask_bucket = (path, method) => ask_with_token(path_of(path), method);

/** Upload a body to this bucket, as `send` does. */
export function send_to_bucket(body, on_progress) {
  let request = null;
  const answer = until_allowed(() => {
    request = send(path_of("./"), "POST", body, on_progress, authorization());
    return request;
  });
  answer.cancel = () => request.cancel();
  return answer;
}

async function until_allowed(request) {
  for (;;) {
    const used = token;
    const answer = await request();
    if (answer.status !== 401) return answer;
    if (used !== null && used === token) forget_token();
    if (token === null && !(await enter_token(used === null ? null : "token_ended"))) return answer;
  }
}

/** Return the URL of something in this bucket that is valid without the token for some seconds. */
export async function signed_url(path, query, seconds) {
  const expires = Math.floor((Date.now() + server_ahead) / 1000) + seconds;
  return `${address(path_of(path))}?${query}&${await sign(token, `/${path_of(path)}`, expires)}`;
}
