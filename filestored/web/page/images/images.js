// The tab "Images": uploads of images, and files that wait until an account is open.

import { account_path, close_account, is_open, on_account_change } from "./account.js";
import { announce, ask_for_name, confirm_action, find } from "../elements.js";
import { begin_gallery, clear_gallery, id_of_name, load_gallery, refresh_gallery, reload_tile } from "./gallery.js";
import { set_text } from "../language.js";
import { Upload, dismiss, enqueue, withdraw } from "../queue.js";
import { listen_to_rows, new_batch } from "../row.js";
import { send } from "../server.js";

let waiting = [];

const is_image_upload = (upload) => upload.subject === "image";

/** Upload images; each is `{ file, name }`. Without an account they wait. */
export function upload_images(files) {
  if (!is_open()) return keep_waiting(files);
  const order = new_batch();
  enqueue(files.map(({ file, name }, index) => new_upload(file, base_name(name), order(index))));
}

const base_name = (name) => name.split("/").pop();

/** Return the upload of an image, which replaces the image with `id` if that is given. */
function new_upload(file, name, order, id = null) {
  return new Upload({
    file, name, order, list: find("image-uploads"), subject: "image",
    send: (on_progress) => {
      const form = new FormData();
      form.append("file", file, name);
      return id
        ? send(account_path(`update-image/${id}/`), "PATCH", form, on_progress)
        : send(account_path("upload-image/"), "POST", form, on_progress);
    },
    on_stored: async (_, upload) => {
      upload.close_row();
      await refresh_gallery();
      if (id) reload_tile(id);
    },
    more_actions: (status, upload) => {
      if (status === 401) close_account("error_401");
      if (status !== 409) return {};
      const rename = () => upload_renamed(upload, id);
      return id ? { rename } : { rename, replace_that: () => upload_in_place(upload) };
    },
  });
}

/** Upload a refused image under another name. */
async function upload_renamed(upload, id) {
  await load_gallery();
  const name = await ask_for_name(upload.name, free_name(upload.name));
  if (name) upload_instead(upload, new_upload(upload.file, base_name(name), upload.order, id));
}

/** Return a name that no image has: "photo (2).jpg". */
function free_name(name) {
  const [, stem, ending] = /^(.*?)(\.[^.]*)?$/s.exec(name);
  for (let number = 2; ; number += 1) {
    const proposed = `${stem} (${number})${ending ?? ""}`;
    if (!id_of_name(proposed)) return proposed;
  }
}

/** Upload a refused image in the place of the one that has its name. */
async function upload_in_place(upload) {
  if (!(await confirm_action("replace_question", "replace", { name: () => upload.name }))) return;
  await load_gallery();
  upload_instead(upload, new_upload(upload.file, upload.name, upload.order, id_of_name(upload.name)));
}

function upload_instead(upload, other) {
  dismiss([upload]);
  enqueue([other]);
}

/** Upload an image in the place of that of a tile. */
function replace_image(tile) {
  const input = find("image-input").cloneNode();
  input.multiple = false;
  input.onchange = () => {
    const [file] = input.files;
    if (file) enqueue([new_upload(file, file.name, new_batch()(0), tile.id)]);
  };
  input.click();
}

// --- files that wait for an account -----------------------------------------------------------------

function keep_waiting(files) {
  waiting = [...waiting, ...files];
  show_waiting();
  if (!files.length) return;
  announce("images_wait", { count: () => waiting.length });
  find("account-name").focus();
}

function show_waiting() {
  find("images-waiting").hidden = waiting.length === 0;
  if (waiting.length) set_text(find("images-waiting-state"), "images_wait", { count: () => waiting.length });
}

function upload_waiting() {
  const files = waiting;
  waiting = [];
  show_waiting();
  upload_images(files);
}

/** Clear the page of an account. Files whose token became invalid wait for the next account. */
function leave_account(token_is_invalid) {
  const files = withdraw(is_image_upload);
  if (token_is_invalid) waiting = [...waiting, ...files];
  show_waiting();
  clear_gallery();
}

export function begin_images() {
  listen_to_rows(find("image-uploads"));
  begin_gallery(replace_image);
  find("images-waiting-cancel").onclick = () => {
    waiting = [];
    show_waiting();
    find("account-name").focus();
  };
  on_account_change({
    opened: () => {
      load_gallery();
      upload_waiting();
    },
    closed: leave_account,
  });
  if (is_open()) load_gallery();
}
