// The tab "Files": uploads, the list of uploaded files, and the search by hash.

import { confirm_action, find, remove, set_message } from "../elements.js";
import { set_text } from "../language.js";
import { Upload, enqueue } from "../queue.js";
import { Row, listen_to_rows, new_batch } from "../row.js";
import { failure_text } from "../server.js";
import { ask_bucket, on_access_change, send_to_bucket } from "./access.js";
import { actions_of, on_delete, report_change } from "./file_actions.js";
import * as uploaded from "./uploaded.js";

const rows = new Map();

/** Upload files; each is `{ file, name }`, where the name may be a path of a folder. */
export function upload_files(files) {
  const order = new_batch();
  enqueue(files.map(({ file, name }, index) => new Upload({
    file, name, order: order(index), list: find("file-list"), subject: "file",
    send: (on_progress) => send_to_bucket(file, on_progress),
    on_stored: ({ hash, created }, { row }) => {
      add(row, { ...row.order, hash, name, size: file.size, date: Date.now() }, created ? "stored" : "stored_before");
      if (created) report_change();
    },
  })));
}

/** Add an entry to the list, and show it in a row. */
function add(row, entry, state) {
  uploaded.add_entry(entry);
  rows.set(uploaded.key_of(entry), row);
  const original = uploaded.originals().get(entry.hash);
  const same = uploaded.list_entries().filter((each) => each.hash === entry.hash);
  for (const each of same) show_entry(each, original, same.length === 1 ? state : "stored");
  remove_old_rows();
  show_list_line();
}

/** Show an uploaded file in its row, unless the row shows it already. */
function show_entry(entry, original, state = "stored") {
  const row = rows.get(uploaded.key_of(entry));
  const is_original = uploaded.key_of(original) === uploaded.key_of(entry);
  const shown = `${entry.deleted ?? false} ${is_original ? "" : original.name}`;
  if (!row || row.shown === shown) return;
  row.shown = shown;
  row.part(".hash").textContent = entry.hash;
  row.part(".hash-line").hidden = false;
  row.set_date(entry.date);
  if (entry.deleted) row.set_state("deleted", "deleted");
  else if (is_original) row.set_state("stored", state);
  else row.set_state("stored", "same_content", { name: () => original.name });
  show_actions(row, entry);
}

function show_actions(row, entry) {
  row.set_actions({ ...(entry.deleted ? {} : actions_of(row, entry)), forget: () => forget(entry) });
}

function forget(entry) {
  uploaded.remove_entry(entry);
  show_entries();
}

async function forget_all() {
  const count = uploaded.list_entries().length;
  if (!(await confirm_action("forget_all_question", "forget_all", { count: () => count }))) return;
  uploaded.remove_all_entries();
  show_entries();
  find("file-input").focus();
}

// --- the list --------------------------------------------------------------------------------------

/** Show the list of uploaded files. Rows of files that are not stored yet stay. */
function show_entries() {
  remove_old_rows();
  const originals = uploaded.originals();
  for (const entry of uploaded.list_entries()) {
    const key = uploaded.key_of(entry);
    if (!rows.has(key)) rows.set(key, new Row(find("file-list"), entry, entry.name, entry.size));
    show_entry(entry, originals.get(entry.hash));
  }
  show_list_line();
}

function remove_old_rows() {
  const keys = new Set(uploaded.list_entries().map(uploaded.key_of));
  for (const [key, row] of rows) {
    if (keys.has(key)) continue;
    rows.delete(key);
    remove(row.element, find("file-input"));
  }
}

function show_list_line() {
  find("list-line").hidden = rows.size === 0;
  set_text(find("list-hint"), uploaded.is_kept() ? "list_hint" : "list_not_kept");
}

async function find_file(event) {
  event.preventDefault();
  const hash = find("fetch-hash").value.trim().toLowerCase();
  const answer = await ask_bucket(`files/${encodeURIComponent(hash)}`, "HEAD");
  if (answer.status === 404) uploaded.mark_deleted(hash);
  if (answer.status !== 200) {
    show_entries();
    return set_message(find("fetch-state"), ...failure_text(answer, "hash"), true);
  }
  set_message(find("fetch-state"), "found");
  if (uploaded.list_entries().some((entry) => entry.hash === hash && !entry.deleted)) return;
  const order = new_batch()(0);
  const size = Number(answer.response.headers.get("Content-Length"));
  const row = new Row(find("file-list"), order, hash, size);
  add(row, { ...order, hash, name: hash, size, date: Date.now() }, "stored");
}

export function begin_files() {
  listen_to_rows(find("file-list"));
  find("forget-all").onclick = forget_all;
  find("fetch-form").onsubmit = find_file;
  uploaded.on_change(show_entries);
  on_delete((hash) => {
    uploaded.mark_deleted(hash);
    show_entries();
  });
  on_access_change(() => {
    for (const entry of uploaded.list_entries()) show_actions(rows.get(uploaded.key_of(entry)), entry);
  });
  show_entries();
}
