// Parts that all of the page uses: elements, announcements, questions, copying.

import { set_text } from "./language.js";

const COPIED_SECONDS = 2;

let validity = "86400";

export const find = (id) => document.getElementById(id);

/** Return a copy of the element in a template, in the present language. */
export function clone(id) {
  const element = find(id).content.firstElementChild.cloneNode(true);
  for (const each of element.querySelectorAll("[data-text]")) set_text(each, each.dataset.text);
  return element;
}

/** Tell screen readers. */
export const announce = (key, values) => set_text(find("announcement"), key, values);

/** Show a message in an element. */
export function set_message(element, key, values, failed = false) {
  element.classList.toggle("failed", failed);
  set_text(element, key, values);
}

/** Remove an element. The focus goes to its neighbour, or to `otherwise`. */
export function remove(element, otherwise) {
  const neighbour = element.nextElementSibling ?? element.previousElementSibling;
  const had_focus = element.contains(document.activeElement);
  element.remove();
  if (had_focus) (neighbour?.querySelector(".actions :not([hidden])") ?? otherwise).focus();
}

/** Save bytes as a file. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  download(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Have the browser download a URL. */
export function download(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

// --- dialogs ---------------------------------------------------------------------------------------

/** Show a dialog of its own and return it when it is closed; its `returnValue` tells the button. */
function open_dialog(dialog) {
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog);
    });
  });
}

/** Ask before something that cannot be undone. Return true for yes. */
export async function confirm_action(question, action, values) {
  const dialog = clone("question");
  set_text(dialog.querySelector("p"), question, values);
  set_text(dialog.querySelector(".danger"), action);
  return (await open_dialog(dialog)).returnValue === "yes";
}

/** Ask for a new name. Return it, or null. */
export async function ask_for_name(name, proposed) {
  const dialog = clone("rename-dialog");
  const input = dialog.querySelector("input");
  set_text(dialog.querySelector("label"), "rename_question", { name: () => name });
  input.value = proposed;
  const closed = open_dialog(dialog);
  input.focus();
  input.setSelectionRange(0, proposed.lastIndexOf(".") > 0 ? proposed.lastIndexOf(".") : proposed.length);
  return (await closed).returnValue === "yes" && input.value.trim() ? input.value.trim() : null;
}

/**
 * Ask for a token until `check` accepts it. Of a refused token it returns the key and the values of a text. `reason`
 * is the key of the first text. Return true when a token was accepted.
 */
export async function ask_for_token(reason, check) {
  const dialog = clone("access-dialog");
  const [input, state] = [dialog.querySelector("input"), dialog.querySelector(".state")];
  if (reason) set_message(state, reason, {}, true);
  dialog.firstElementChild.onsubmit = async (event) => {
    if (event.submitter?.value === "no") return;
    event.preventDefault();
    const refusal = await check(input.value.trim());
    if (!refusal) return dialog.close("yes");
    set_message(state, ...refusal, true);
    input.select();
  };
  return (await open_dialog(dialog)).returnValue === "yes";
}

/** Ask for how long a link shall be valid. Return the seconds, or null. */
export async function ask_for_validity(name) {
  const dialog = clone("link-dialog");
  set_text(dialog.querySelector("p"), "link_to", { name: () => name });
  const select = dialog.querySelector("select");
  select.value = validity;
  if ((await open_dialog(dialog)).returnValue !== "yes") return null;
  validity = select.value;
  return Number(validity);
}

// --- copying ---------------------------------------------------------------------------------------

/** Copy a text. The button shows that it was done; when the browser refuses, a dialog shows the text. */
export async function copy(button, text) {
  const label = button.dataset.text;
  const done = (await copy_to_clipboard(text)) || copy_by_selection(text);
  if (!done) return show_for_copying(text);
  announce("copied");
  set_text(button, "copied");
  setTimeout(() => set_text(button, label), COPIED_SECONDS * 1000);
}

/** Copy by the clipboard API, which browsers have only on https and localhost. Return true when it is done. */
async function copy_to_clipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Copy by a selected text, as on plain http. Return true when it is done. */
function copy_by_selection(text) {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.className = "unseen";
  area.value = text;
  area.readOnly = true;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}

function show_for_copying(text) {
  const dialog = clone("copy-dialog");
  const input = dialog.querySelector("input");
  set_text(dialog.querySelector("label"), "copy_by_hand");
  input.value = text;
  const closed = open_dialog(dialog);
  input.select();
  return closed;
}
