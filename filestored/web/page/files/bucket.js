// The head of the tab "Files": menu of buckets, token, usage of the bucket. It shows and hides what the rights allow.

import { find, set_message } from "../elements.js";
import { format_number, format_size, phrase, set_plain, set_text } from "../language.js";
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
  find("access").hidden = [...find("access").querySelectorAll("label, button, p")].every((each) => each.hidden);
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
  set_text(find("usage-text"), "just", { text: () => usage_text(answer.value) });
  show_share(find("usage-bytes"), bytes, quota_bytes);
  show_share(find("usage-files"), files, quota_files);
}

function usage_text({ files, bytes, quota_bytes, quota_files }) {
  const size = () => format_size(bytes);
  const used = quota_bytes === null ? size() : phrase("part_of", { part: size, whole: () => format_size(quota_bytes) });
  const count = () => files;
  const number =
    quota_files === null
      ? phrase("files_used", { count })
      : phrase("files_of_quota", { part: () => format_number(files), count: () => quota_files });
  return `${used} · ${number}`;
}

function show_share(meter, used, quota) {
  meter.hidden = quota === null;
  const share = quota ? Math.min(used / quota, 1) : 1;
  meter.value = share;
  meter.classList.toggle("full", share >= FULL_SHARE);
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
