// The page of filestored: a client of its two HTTP APIs, in modules without a build step.
//
// Text of users and of the server is put in as text, never as markup. This module connects the parts: language,
// tabs, files that are dropped, chosen or pasted.
//
//   texts.js, language.js     what is shown, in English and Russian
//   storage.js, server.js     access to the browser's storage and to the server
//   elements.js, row.js       parts of the page
//   queue.js, speed.js        uploads; summary.js shows their total
//   dropped.js                files and folders that are dropped or chosen
//   files/                    the tab "Files": access.js has token, bucket and rights; bucket.js is its head,
//                             files.js and uploaded.js the list of this browser, stored.js that of the server
//   images/                   the tab "Images": account.js, gallery.js, images.js

import { files_of_input, files_of_transfer, looks_like_image } from "./dropped.js";
import { find, set_message } from "./elements.js";
import { can, enter_token, has_token, is_visible, load_access } from "./files/access.js";
import { begin_bucket } from "./files/bucket.js";
import { begin_files, upload_files } from "./files/files.js";
import { begin_stored } from "./files/stored.js";
import { begin_account } from "./images/account.js";
import { begin_images, upload_images } from "./images/images.js";
import { choose_language, set_plain, translate } from "./language.js";
import { is_uploading } from "./queue.js";
import { begin_summary } from "./summary.js";

// --- tabs ------------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];
const shows_images = () => find("tab-images").getAttribute("aria-selected") === "true";

function select_tab(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", each === tab);
    each.tabIndex = each === tab ? 0 : -1;
    find(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  history.replaceState(null, "", tab.id === "tab-images" ? "#images" : location.pathname + location.search);
  ask_for_first_token();
}

function move_between_tabs(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.indexOf(event.target), End: -1 - tabs.indexOf(event.target) };
  if (!Object.hasOwn(steps, event.key)) return;
  const tab = tabs[(tabs.indexOf(event.target) + steps[event.key] + tabs.length) % tabs.length];
  event.preventDefault();
  select_tab(tab);
  tab.focus();
}

let was_asked = false;

/** Ask for a token, once, when the tab of files has nothing to show without one. */
async function ask_for_first_token() {
  if (was_asked || shows_images() || has_token() || is_visible()) return;
  was_asked = true;
  await enter_token();
}

// --- files -----------------------------------------------------------------------------------------

/** Upload files to the tab that is shown. Of a folder only images go to the images. */
function upload({ files, unreadable = 0, has_folder = false }) {
  const images = shows_images();
  if (!images && !can("write")) return set_message(find("chosen-state"), "no_write", {}, true);
  const chosen = images && has_folder ? files.filter(looks_like_image) : files;
  show_left_out(files.length - chosen.length, unreadable, chosen.length);
  if (images) upload_images(chosen);
  else upload_files(chosen);
}

function show_left_out(not_images, unreadable, chosen) {
  const state = find("chosen-state");
  if (unreadable) set_message(state, "unreadable", { count: () => unreadable }, true);
  else if (not_images) set_message(state, "not_images", { count: () => not_images });
  else if (!chosen) set_message(state, "nothing_to_upload");
  else set_plain(state);
}

function listen_to_drops() {
  const carries_files = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!carries_files(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
  addEventListener("drop", async (event) => {
    if (!carries_files(event)) return;
    event.preventDefault();
    mark(false);
    upload(await files_of_transfer(event.dataTransfer));
  });
  addEventListener("paste", async ({ clipboardData }) => {
    if (clipboardData.files.length) upload(await files_of_transfer(clipboardData));
  });
}

function listen_to_inputs() {
  find("file-input").multiple = true;
  for (const id of ["file-input", "folder-input", "image-input", "image-folder-input"]) {
    find(id).onchange = ({ currentTarget: input }) => {
      upload({ files: files_of_input(input), has_folder: input.webkitdirectory });
      input.value = "";
    };
  }
  for (const button of document.querySelectorAll(".choose-folder")) {
    const input = find(button.dataset.input);
    button.hidden = !("webkitdirectory" in input);
    button.onclick = () => input.click();
  }
}

// --- the page --------------------------------------------------------------------------------------

function begin() {
  document.documentElement.classList.add("scripting");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.onclick = () => choose_language(button.dataset.language);
  }
  for (const tab of tabs) {
    tab.onclick = () => select_tab(tab);
    tab.onkeydown = move_between_tabs;
  }
  listen_to_drops();
  listen_to_inputs();
  addEventListener("beforeunload", (event) => is_uploading() && event.preventDefault());
  begin_summary();
  begin_bucket();
  begin_files();
  begin_stored();
  begin_account();
  begin_images();
  if (location.hash === "#images") select_tab(find("tab-images"));
  translate();
  load_access().then(ask_for_first_token);
}

begin();
