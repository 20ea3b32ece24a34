// The head of the tab "Files": menu of buckets, token, usage of the bucket. It shows and hides what the rights allow.

import { find, set_message } from "../elements.js";
import { format_number, format_size, set_label, set_plain, set_text } from "../language.js";
import * as access from "./access.js";
import { on_stored_change } from "./file_actions.js";
import { can_sign } from "./signed_links.js";

const FULL_SHARE = 0.9;

function show() {
  show_menu();
  find("access-enter").hidden = access.has_token() || !access.can_use_token();
  find("access-forget").hidden = !access.has_token();
  show_state();
  find("file-form").hidden = !access.can("write");
  find("fetch-form").hidden = !access.can("read") || access.can("list");
  const user = access.has_token() ? "-u token " : "";
  find("curl-line").textContent = `curl ${user}-F file=@photo.jpg ${access.bucket_address()}`;
  find("access").hidden = [...find("access").querySelectorAll("#bucket-choice, button, p")].every((each) => each.hidden);
}

function show_menu() {
  const names = access.bucket_names();
  if (!names.includes(access.bucket)) names.unshift(access.bucket);
  const options = names.map((name) => new Option(name, name, false, name === access.bucket));
  find("bucket-menu").replaceChildren(...options);
  find("bucket-choice").hidden = names.length === 1;
}

function show_state() {
  const state = find("access-state");
  const unsigned = access.has_token() && access.can("read") && !access.is_public("read") && !can_sign();
  if (!access.is_visible()) set_message(state, access.has_token() ? "bucket_unknown" : "token_needed");
  else if (unsigned) set_message(state, "links_need_https");
  else set_plain(state);
  state.hidden = !state.textContent;
}

// --- usage -----------------------------------------------------------------------------------------

async function load_usage() {
  const answer = access.can("list") ? await access.ask_with_token(`buckets/${access.bucket}/usage`) : { status: 403 };
  find("usage").hidden = answer.status !== 200;
  if (answer.status !== 200) return;
  const { files, bytes, quota_bytes, quota_files } = answer.value;
  const sizes = { part: () => format_size(bytes), whole: () => format_size(quota_bytes) };
  const counts = { part: () => format_number(files), count: () => quota_files };
  if (quota_bytes === null) show_usage("usage-bytes", "just", { text: sizes.part });
  else show_usage("usage-bytes", "bytes_of_quota", sizes, bytes / quota_bytes);
  if (quota_files === null) show_usage("usage-files", "files_used", { count: () => files });
  else show_usage("usage-files", "files_of_quota", counts, files / quota_files);
}

/** Show a figure by a text, and its share of the quota as a bar. */
function show_usage(id, key, values, share = null) {
  const [text, meter] = find(id).children;
  set_text(text, key, values);
  meter.hidden = share === null;
  if (share === null) return;
  set_label(meter, key, values);
  meter.value = share;
  meter.classList.toggle("full", !(share < FULL_SHARE));
}

export function begin_bucket() {
  find("bucket-menu").onchange = ({ currentTarget: menu }) => {
    access.open_bucket(menu.value);
    menu.value = access.bucket;
  };
  find("access-enter").onclick = () => access.enter_token();
  find("access-forget").onclick = () => {
    access.forget_token();
    find("access-enter").focus();
  };
  access.on_access_change(show);
  access.on_access_change(load_usage);
  on_stored_change(load_usage);
  show();
}
