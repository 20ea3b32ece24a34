// The images of an account. Their bytes come by `fetch`, so that no URL with the token is in the document.

import { account_path, ask_account, is_open } from "./account.js";
import { announce, clone, confirm_action, find, remove, save, set_message } from "../elements.js";
import { compare_names, label_action, set_label, set_plain } from "../language.js";
import { failure_text, succeeded } from "../server.js";

const THUMBNAIL = 480;
const RELOAD_MILLISECONDS = 500;
const IMAGES_FIRST = { Accept: "image/*, */*;q=0.5" };

const tiles = new Map();
const visible = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    visible.unobserve(target);
    tiles.get(target.dataset.id)?.load();
  }
}, { rootMargin: "200px" });

const fail = (answer) => set_message(find("account-state"), ...failure_text(answer), true);

/** One image of the account. */
class Tile {
  constructor(id, name) {
    this.id = id;
    this.element = clone("gallery-tile");
    this.element.dataset.id = id;
    this.image = this.part("img");
    this.part(".id").textContent = id;
    this.rename(name);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  rename(name) {
    this.name = name;
    this.part(".name").textContent = name;
    this.part(".kind").textContent = name.includes(".") ? name.split(".").pop() : "?";
    set_label(this.part(".open"), "open_image", { name: () => name });
    for (const action of ["download", "replace", "delete"]) label_action(this.part(`.${action}`), action, name);
  }

  /** Show the thumbnail, or the image itself when the server makes none. */
  async load() {
    const small = await this.fetch(`?width=${THUMBNAIL}`);
    const { blob } = small.blob ? small : await this.fetch("");
    if (blob) show_blob(this.image, blob);
  }

  /** Return the image as it was uploaded, or null, and then the page shows the reason. */
  async original() {
    const { status, blob } = await this.fetch("");
    if (!blob && status !== 401) fail({ status });
    return blob;
  }

  async fetch(query) {
    if (!is_open()) return { status: 401, blob: null };
    const { status, response } = await ask_account(`get-image/${this.id}/${query}`, "GET", IMAGES_FIRST);
    if (status !== 200) return { status, blob: null };
    return response.blob().then((blob) => ({ status, blob }), () => ({ status: 0, blob: null }));
  }

  async download() {
    const blob = await this.original();
    if (blob) save(blob, this.name);
  }

  async open() {
    const blob = await this.original();
    if (!blob) return;
    set_plain(find("viewer-name"), this.name);
    find("viewer-image").alt = this.name;
    show_blob(find("viewer-image"), blob);
    find("viewer").showModal();
  }

  async delete() {
    if (!(await confirm_action("delete_image_question", "delete", { name: () => this.name }))) return;
    const answer = await ask_account(`delete-image/${this.id}/`, "DELETE");
    if (answer.status === 401) return;
    if (!succeeded(answer.status) && answer.status !== 404) return fail(answer);
    tiles.delete(this.id);
    remove(this.element, find("image-input"));
    find("gallery-empty").hidden = tiles.size > 0;
    announce("image_deleted", { name: () => this.name });
  }
}

function show_blob(image, blob) {
  const url = URL.createObjectURL(blob);
  image.onload = () => URL.revokeObjectURL(url);
  image.onerror = () => {
    URL.revokeObjectURL(url);
    image.removeAttribute("src");
  };
  image.src = url;
}

/** Return the name of an image as the server compares names. */
const normal = (name) => name.normalize("NFC");

/** Return the id of the image with a name, or undefined. */
export const id_of_name = (name) => [...tiles.values()].find((tile) => normal(tile.name) === normal(name))?.id;

/** Load the thumbnail of an image again. */
export const reload_tile = (id) => tiles.get(id)?.load();

let loads = 0;

/** Show the images of the account's list; tiles that are there already stay. The list asked for last counts. */
export async function load_gallery() {
  const path = account_path("");
  const number = ++loads;
  const answer = await ask_account("get-image-list/");
  if (!is_open() || path !== account_path("") || number !== loads) return;
  if (answer.status !== 200) return fail(answer);
  const listed = Object.entries(answer.value).sort(([one], [other]) => compare_names(one, other));
  for (const [name, id] of listed) {
    if (!tiles.has(id)) tiles.set(id, new Tile(id, name));
    const tile = tiles.get(id);
    if (tile.name !== name) tile.rename(name);
    if (!tile.element.isConnected) visible.observe(tile.element);
  }
  const present = new Set(Object.values(answer.value));
  for (const id of [...tiles.keys()]) if (!present.has(id)) tiles.delete(id);
  arrange(listed.map(([, id]) => tiles.get(id).element));
}

let pause = null;
let again = false;

/** Load the gallery now, but at most twice a second while many images are uploaded. */
export async function refresh_gallery() {
  if (pause) {
    again = true;
    return;
  }
  pause = setTimeout(() => {
    pause = null;
    if (again && is_open()) refresh_gallery();
    again = false;
  }, RELOAD_MILLISECONDS);
  await load_gallery();
}

/** Put the tiles in order without moving one that is in its place, so that none loses the focus. */
function arrange(elements) {
  const gallery = find("gallery");
  const listed = new Set(elements);
  for (const child of [...gallery.children]) if (!listed.has(child)) child.remove();
  let next = gallery.firstElementChild;
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling;
    else gallery.insertBefore(element, next);
  }
  find("gallery-empty").hidden = elements.length > 0;
}

export function clear_gallery() {
  visible.disconnect();
  tiles.clear();
  find("gallery").replaceChildren();
}

/** Call the actions of the tiles. `replace` is called with the tile. */
export function begin_gallery(replace) {
  find("gallery").addEventListener("click", ({ target }) => {
    const action = target.closest("button")?.dataset.do;
    const tile = tiles.get(target.closest("li")?.dataset.id);
    if (action === "replace") replace(tile);
    else if (action) tile[action]();
  });
}
