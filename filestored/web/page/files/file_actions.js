// Buttons of a stored file: copy its link or its hash, download it, delete it, as the rights allow.
//
// A link that everyone may open is the address of the file. Other links are signed, and valid for some time. A
// download with a token is such a link, too: a link cannot send the token.

import { announce, ask_for_validity, confirm_action, copy, download, save } from "../elements.js";
import { address, failure_text, succeeded } from "../server.js";
import { ask_bucket, can, has_token, is_public, path_of, signed_url } from "./access.js";
import { can_sign } from "./signed_links.js";

const DOWNLOAD_SECONDS = 300;
const MAX_DOWNLOAD_BYTES = 64 << 20;
/** Size of the largest file that is downloaded into memory, where links cannot be signed. */

const CHANGE_MILLISECONDS = 1000;

const delete_listeners = [];
const change_listeners = [];
let timer = null;

/** Call a function with the hash of a file that was deleted. */
export const on_delete = (listener) => delete_listeners.push(listener);

/** Call a function after files were stored or deleted, at most once a second. */
export const on_stored_change = (listener) => change_listeners.push(listener);

export function report_change() {
  timer ??= setTimeout(() => {
    timer = null;
    for (const listener of change_listeners) listener();
  }, CHANGE_MILLISECONDS);
}

/** Return the actions of a file, `{ hash, name, size }`, in its row. */
export function actions_of(row, file) {
  return {
    ...(can("read") ? reading_actions(row, file) : {}),
    copy_hash: (button) => copy(button, file.hash),
    ...(can("delete") ? { delete: () => delete_file(row, file) } : {}),
  };
}

function reading_actions(row, file) {
  const name = file.name.split("/").pop();
  const path = `files/${file.hash}`;
  const query = `name=${encodeURIComponent(name)}`;
  if (is_public("read")) {
    const link = row.part(".download");
    link.href = `${address(path_of(path))}?${query}`;
    link.download = name;
    return { copy_link: (button) => copy(button, link.href), download: () => {} };
  }
  if (!can_sign()) return { save: () => save_by_request(row, file, name) };
  return {
    copy_link: (button) => copy_signed_link(button, name, path, query),
    save: async () => download(await signed_url(path, query, DOWNLOAD_SECONDS), name),
  };
}

async function copy_signed_link(button, name, path, query) {
  const seconds = await ask_for_validity(name);
  if (seconds !== null && has_token()) await copy(button, await signed_url(path, query, seconds));
}

/** Download a file with the token, into memory first. */
async function save_by_request(row, { hash, size }, name) {
  if (size > MAX_DOWNLOAD_BYTES) return row.set_state("failed", "error_large_download");
  const answer = await ask_bucket(`files/${hash}`);
  const blob = answer.status === 200 ? await answer.response.blob().catch(() => null) : null;
  if (blob) save(blob, name);
  else row.set_state("failed", ...failure_text(answer, "file"));
}

async function delete_file(row, { hash, name }) {
  if (!(await confirm_action("delete_file_question", "delete", { name: () => name }))) return;
  const answer = await ask_bucket(`files/${hash}`, "DELETE");
  if (!succeeded(answer.status) && answer.status !== 404) {
    return row.set_state("failed", ...failure_text(answer, "file"));
  }
  for (const listener of delete_listeners) listener(hash);
  report_change();
  announce("file_deleted", { name: () => name });
}
