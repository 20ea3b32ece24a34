// The list of what is stored in the bucket, for users who may list it: by pages, in the order of the hashes.
//
// A search is a list that begins right before the beginning of a hash, so it costs one request for any number of
// files.

import { find, remove, set_message } from "../elements.js";
import { set_plain } from "../language.js";
import { Row, listen_to_rows } from "../row.js";
import { failure_text } from "../server.js";
import { ask_bucket, can, on_access_change } from "./access.js";
import { actions_of, on_delete, on_stored_change } from "./file_actions.js";
import { name_of } from "./uploaded.js";

const PAGE_FILES = 50;
const MAX_PAGE_FILES = 1000;
const TYPING_MILLISECONDS = 250;

const rows = new Map();
let files = [];
let hash_length = 0;
let loads = 0;
let typing = null;

/** Load the list anew, as far as it is shown. */
function reload() {
  find("stored").hidden = !can("list");
  if (can("list")) load([], Math.min(Math.max(files.length, PAGE_FILES), MAX_PAGE_FILES));
  else show([], false);
}

/** Load the files that come after `before`, at most `limit`. The request that was sent last counts. */
async function load(before, limit) {
  const number = ++loads;
  const prefix = find("stored-prefix").value.trim().toLowerCase();
  if (prefix && !hash_length) await find_hash_length();
  const after = before.at(-1)?.hash ?? predecessor(prefix);
  const answer = await ask_bucket(`files/?${new URLSearchParams({ limit, ...(after ? { after } : {}) })}`);
  if (number !== loads || !can("list")) return;
  if (answer.status !== 200) return set_message(find("stored-state"), ...failure_text(answer, "hash"), true);
  const found = answer.value.files.filter(({ hash }) => hash.startsWith(prefix));
  hash_length ||= found[0]?.hash.length ?? 0;
  show([...before, ...found], answer.value.next !== null && found.length === answer.value.files.length);
  if (files.length) set_plain(find("stored-state"));
  else set_message(find("stored-state"), prefix ? "nothing_found" : "nothing_stored");
}

async function find_hash_length() {
  const answer = await ask_bucket("files/?limit=1");
  hash_length = answer.value?.files?.[0]?.hash.length ?? 0;
}

/** Return the hash right before all that begin with `prefix`; nothing if that is the first, or there is no prefix. */
function predecessor(prefix) {
  const first = /^[0-9a-f]+$/.test(prefix) ? BigInt(`0x${prefix.padEnd(hash_length, "0")}`) : 0n;
  return first ? (first - 1n).toString(16).padStart(hash_length, "0") : "";
}

/** Show files. A row that is there already stays, so that it keeps the focus. */
function show(listed, has_more) {
  files = listed;
  const present = new Set(files.map(({ hash }) => hash));
  for (const hash of [...rows.keys()]) if (!present.has(hash)) remove_row(hash);
  files.forEach(({ hash }, index) => { if (rows.has(hash)) rows.get(hash).order = { batch: 0, index }; });
  files.forEach((file, index) => { if (!rows.has(file.hash)) add_row(file, { batch: 0, index }); });
  find("stored-more").hidden = !has_more;
}

function add_row({ hash, size, modified }, order) {
  const name = name_of(hash);
  const row = new Row(find("stored-list"), order, name ?? hash, size);
  rows.set(hash, row);
  row.part(".hash").textContent = hash;
  row.part(".hash-line").hidden = name === undefined;
  row.set_state(name === undefined ? "stored nameless" : "stored", "just", { text: () => "" });
  row.set_date(Date.parse(modified));
  row.set_actions(actions_of(row, { hash, size, name: name ?? hash }));
}

function remove_row(hash) {
  const row = rows.get(hash);
  rows.delete(hash);
  remove(row.element, find("stored-prefix"));
}

export function begin_stored() {
  listen_to_rows(find("stored-list"));
  find("stored-form").onsubmit = (event) => {
    event.preventDefault();
    search();
  };
  find("stored-prefix").oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(search, TYPING_MILLISECONDS);
  };
  find("stored-more").onclick = () => load(files, PAGE_FILES);
  on_delete((hash) => {
    if (rows.has(hash)) remove_row(hash);
    files = files.filter((file) => file.hash !== hash);
  });
  on_stored_change(reload);
  on_access_change(() => {
    for (const hash of [...rows.keys()]) remove_row(hash);
    reload();
  });
}

function search() {
  clearTimeout(typing);
  files = [];
  load([], PAGE_FILES);
}
