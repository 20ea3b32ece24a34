// The account of the tab "Images" and its token.
//
// The token is in sessionStorage, so it ends with the tab, or in localStorage if the user asks for that. It is in no
// URL of the page, nor in the document until "Show" is pressed.

import { confirm_action, copy, find, set_message } from "../elements.js";
import { set_plain, set_text } from "../language.js";
import { ask, failure_text, succeeded } from "../server.js";
import { read_json, write_json } from "../storage.js";

const KEY = "filestored.account";
const TOKEN_LENGTH = 10;
const on_open = [];
const on_close = [];

let account = stored("sessionStorage") ?? stored("localStorage");

export const is_open = () => account !== null;

/** Call functions when an account is opened, and when it is closed. */
export function on_account_change({ opened, closed }) {
  on_open.push(opened);
  on_close.push(closed);
}

/** Return the account in a storage area, or null when there is none that could be one. */
function stored(area) {
  const value = read_json(area, KEY);
  return /^[\w-]{10}$/.test(value?.token) ? { name: String(value.name ?? ""), token: value.token } : null;
}

/** Send a request about images of the account. An invalid token closes the account. */
export async function ask_account(path, method, headers) {
  const answer = await ask(account_path(path), method, headers);
  if (answer.status === 401) close_account("error_401");
  return answer;
}

export const account_path = (path) => `imageapi/token/${account.token}/${path}`;

async function enter_by_name(event) {
  event.preventDefault();
  const name = find("account-name").value;
  const creating = event.submitter?.value === "create";
  const answer = await ask(`imageapi/${creating ? "generate" : "retrieve"}-token/${name}/`);
  if (!succeeded(answer.status)) return set_message(find("account-state"), ...failure_text(answer, "account"), true);
  open_account({ name, token: creating ? answer.value.token : answer.value[name] }, creating ? "account_made" : null);
}

function enter_by_token(event) {
  event.preventDefault();
  open_account({ name: "", token: find("token-input").value });
}

function open_account(entered, message) {
  const kept = keep(entered, find("token-keep").checked);
  if (!kept) set_message(find("account-state"), "token_not_kept");
  else if (message) set_message(find("account-state"), message);
  else set_plain(find("account-state"));
  show_account();
  find("account-title").focus();
  for (const listener of on_open) listener();
}

/** Keep the account in one storage area. Return false when the browser does not allow it. */
function keep(entered, on_device) {
  account = entered;
  const [area, other] = on_device ? ["localStorage", "sessionStorage"] : ["sessionStorage", "localStorage"];
  write_json(other, KEY, null);
  return write_json(area, KEY, account);
}

function show_account() {
  find("account").hidden = !account;
  find("sign-in").hidden = Boolean(account);
  if (account?.name) set_plain(find("account-title"), account.name);
  else set_text(find("account-title"), "account_open");
  show_token(false);
}

function show_token(visible) {
  find("account-token").textContent = visible ? account.token : "•".repeat(TOKEN_LENGTH);
  find("token-show").setAttribute("aria-pressed", visible);
  set_text(find("token-show"), visible ? "hide" : "show");
}

/** Close the account: forget the token in this browser. `reason` is the key of a text. */
export function close_account(reason = null) {
  if (!account) return;
  for (const listener of on_close) listener(reason !== null);
  account = null;
  for (const area of ["sessionStorage", "localStorage"]) write_json(area, KEY, null);
  show_account();
  find("token-form").reset();
  if (reason) set_message(find("account-state"), reason, {}, true);
  else set_plain(find("account-state"));
  if (!find("images").hidden) find("account-name").focus();
}

async function renew_token() {
  if (!(await confirm_action("renew_question", "renew"))) return;
  const answer = await ask_account("regenerate-token/", "POST");
  if (answer.status === 401) return;
  if (!succeeded(answer.status)) return set_message(find("account-state"), ...failure_text(answer), true);
  keep({ ...account, token: answer.value.token }, stored("localStorage") !== null);
  show_token(false);
  set_message(find("account-state"), "renewed");
}

/** Follow another tab that has renewed or removed the token which both keep. */
function follow_other_tab({ key, oldValue }) {
  if (key !== KEY || !account || !oldValue?.includes(account.token)) return;
  const kept = stored("localStorage");
  if (!kept) return close_account();
  account = kept;
  show_token(false);
}

export function begin_account() {
  find("account-form").onsubmit = enter_by_name;
  find("token-form").onsubmit = enter_by_token;
  find("token-show").onclick = ({ currentTarget }) => show_token(currentTarget.getAttribute("aria-pressed") !== "true");
  find("token-copy").onclick = ({ currentTarget }) => copy(currentTarget, account.token);
  find("token-renew").onclick = renew_token;
  find("account-leave").onclick = () => close_account();
  addEventListener("storage", follow_other_tab);
  show_account();
}
