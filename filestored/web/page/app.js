// The page of filestored: a thin client of its two HTTP APIs, in one module without a build step.
//
// In flow files, dropped, chosen or pasted; out flow requests, and what became of them is shown.
// Whatever comes from a user or the server is put in as text, never as markup. An account's token
// stays in sessionStorage, so it ends with the tab; it is in no URL of the page, nor in the document.
//
// Top to bottom: the words, the server, small parts, uploads, files, the account, its gallery, the page.

export const TEXTS = {
  en: {
    tagline: "Every distinct file, kept once, under its hash.",
    language: "Language", sections: "Sections", files: "Files", images: "Images",
    drop_files: "Drop files here, or choose them",
    files_hint: "When the hash appears, the file is safely on disk.",
    drop_images: "Drop images here, or choose them",
    images_hint: "Names are unique in an account; the bytes stay as they are.",
    your_files: "Your files", your_uploads: "Uploads", gallery: "Gallery", gallery_empty: "No images yet.",
    have_hash: "Have a hash?", hash: "hash", find: "Find", found: "Found: it is in the list above.",
    account_name: "Account name", open_account: "Open", create_account: "Create", have_token: "I have a token",
    account_hint: "Latin letters, digits and underscores. There is no password: the token is the key.",
    token: "Token", show: "Show", hide: "Hide", renew: "New token", leave: "Leave", account_open: "Your account",
    account_made: "Account created. Keep the token: it opens the account.",
    renew_question: "Make a new token? The old one stops working at once.",
    renewed: "The account has a new token.",
    copy: "Copy", copy_hash: "Copy hash", copied: "Copied", copy_failed: "Select the text and copy it by hand.",
    download: "Download", replace: "Replace", delete: "Delete", cancel: "Cancel", again: "Try again", dismiss: "Dismiss", close: "Close",
    just: "{text}", of_name: "{action}: {name}", open_image: "Show {name} in full",
    delete_file_question: "Delete {name} for everybody who has its hash?",
    delete_image_question: "Delete {name}?",
    deleted: "{name} was deleted.",
    waiting: "Waiting", sending: "{done} of {size} · {percent}", flushing: "Writing to disk",
    stored: "Stored", stored_before: "Was stored already: same hash, nothing written.",
    is_stored: "{name} is stored.", began: "Uploading {name}", broke: "{name}: {reason}",
    cancelled: "Cancelled",
    also_curl: "The same from a terminal:", api: "API description",
    error_0: "The connection broke off. The server may be down, or the file larger than it takes.",
    error_400: "The server did not understand that.", error_401: "This token is not valid any more.",
    error_403: "This server hands out tokens on its own machine only. Ask its operator.",
    error_404: "Nothing is stored under that name.", error_406: "That is not an image this server knows.",
    error_408: "The upload stalled.", error_409: "That name is taken already.",
    error_413: "The file is larger than this server accepts.", error_503: "The server is busy. Try again in a moment.",
    error_507: "The server's disk is full.", error_other: "The server answered {status}.",
    error_400_hash: "That is no hash of this server.",
    error_404_account: "There is no account of that name.",
    error_409_account: "An account of that name exists already.",
    error_409_file: "A different file with the same hash is stored already.",
  },
  ru: {
    tagline: "Каждый файл хранится один раз — под своим хэшем.",
    language: "Язык", sections: "Разделы", files: "Файлы", images: "Изображения",
    drop_files: "Перетащите файлы сюда или выберите их",
    files_hint: "Когда появился хэш, файл надёжно записан на диск.",
    drop_images: "Перетащите изображения сюда или выберите их",
    images_hint: "Имена в аккаунте не повторяются, содержимое не меняется.",
    your_files: "Ваши файлы", your_uploads: "Загрузки", gallery: "Галерея", gallery_empty: "Пока ни одного изображения.",
    have_hash: "Есть хэш?", hash: "хэш", find: "Найти", found: "Файл найден, он в списке выше.",
    account_name: "Имя аккаунта", open_account: "Открыть", create_account: "Создать", have_token: "У меня есть токен",
    account_hint: "Латинские буквы, цифры и подчёркивание. Пароля нет: ключ — это токен.",
    token: "Токен", show: "Показать", hide: "Скрыть", renew: "Новый токен", leave: "Выйти", account_open: "Ваш аккаунт",
    account_made: "Аккаунт создан. Сохраните токен: он открывает аккаунт.",
    renew_question: "Выдать новый токен? Старый сразу перестанет действовать.",
    renewed: "У аккаунта новый токен.",
    copy: "Копировать", copy_hash: "Копировать хэш", copied: "Скопировано", copy_failed: "Выделите текст и скопируйте его сами.",
    download: "Скачать", replace: "Заменить", delete: "Удалить", cancel: "Отмена", again: "Повторить", dismiss: "Убрать", close: "Закрыть",
    just: "{text}", of_name: "{action}: {name}", open_image: "Показать {name} целиком",
    delete_file_question: "Удалить {name} для всех, у кого есть хэш?",
    delete_image_question: "Удалить {name}?",
    deleted: "Файл {name} удалён.",
    waiting: "В очереди", sending: "{done} из {size} · {percent}", flushing: "Запись на диск",
    stored: "Сохранён", stored_before: "Уже хранится: тот же хэш, ничего не записано.",
    is_stored: "Файл {name} сохранён.", began: "Загружается {name}", broke: "{name}: {reason}",
    cancelled: "Отменено",
    also_curl: "То же из терминала:", api: "Описание API",
    error_0: "Соединение прервалось. Возможно, сервер остановлен или файл больше допустимого.",
    error_400: "Сервер не понял запрос.", error_401: "Этот токен больше не действует.",
    error_403: "Этот сервер выдаёт токены только на своей машине. Обратитесь к администратору.",
    error_404: "Под этим именем ничего не хранится.", error_406: "Это не изображение известного серверу вида.",
    error_408: "Загрузка остановилась.", error_409: "Это имя уже занято.",
    error_413: "Файл больше, чем принимает этот сервер.", error_503: "Сервер занят. Повторите чуть позже.",
    error_507: "На диске сервера нет места.", error_other: "Сервер ответил: {status}.",
    error_400_hash: "Это не хэш этого сервера.",
    error_404_account: "Аккаунта с таким именем нет.",
    error_409_account: "Аккаунт с таким именем уже есть.",
    error_409_file: "Под этим хэшем уже хранится другой файл.",
  },
};

// --- the words -----------------------------------------------------------------------------------

const LANGUAGE = "filestored.language";
const given = new WeakMap();
let language = localStorage.getItem(LANGUAGE) ?? (navigator.language.startsWith("ru") ? "ru" : "en");
if (!(language in TEXTS)) language = "en";

const phrase = (key, values = {}) => TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]());

/** Show a phrase in an element, and again when the language changes. `values` are functions, by name. */
function say(element, key, values = {}) {
  element.dataset.text = key;
  given.set(element, values);
  element.textContent = phrase(key, values);
}

/** Show what is the same in every language, or nothing. */
function write(element, text = "") {
  delete element.dataset.text;
  element.textContent = text;
}

/** Name a control for those who can't see what it stands next to. */
function name_action(element, key, name) {
  element.dataset.action = key;
  given.set(element, { name: () => name });
  element.setAttribute("aria-label", phrase("of_name", { action: () => phrase(key), name: () => name }));
}

function speak(wanted) {
  language = wanted;
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) {
    say(element, element.dataset.text, given.get(element));
  }
  for (const element of document.querySelectorAll("[data-action]")) {
    name_action(element, element.dataset.action, given.get(element).name());
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", phrase(element.dataset.label, given.get(element)));
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = phrase(element.dataset.placeholder);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", button.dataset.language === language);
  }
}

function format_size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), units.length - 1);
  const style = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language, style).format(bytes / 1000 ** power);
}

const format_percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(share);

// --- the server ------------------------------------------------------------------------------------

const address = (path) => new URL(path, document.baseURI).href;
const JSON_PLEASE = { Accept: "application/json" };

/** What a request came to: `status` (0 without an answer), the JSON `value` if there is one, the `response`. */
async function ask(path, method = "GET", headers = JSON_PLEASE) {
  try {
    const response = await fetch(address(path), { method, headers, credentials: "omit" });
    const is_json = /[/+]json/.test(response.headers.get("Content-Type") ?? "");
    return { status: response.status, value: is_json ? parsed(await response.text()) : null, response };
  } catch {
    return { status: 0, value: null };
  }
}

/** Like `ask`, for a body whose progress is told; the promise has a method `stop`. */
function send(path, method, body, on_progress) {
  const request = new XMLHttpRequest();
  const answered = new Promise((resolve) => {
    request.onload = () => resolve({ status: request.status, value: parsed(request.responseText) });
    request.onerror = () => resolve({ status: 0, value: null });
    request.onabort = () => resolve({ status: -1, value: null });
    request.upload.onprogress = (event) => on_progress(event.loaded, event.total);
    request.open(method, address(path));
    request.setRequestHeader("Accept", "application/json");
    if (!(body instanceof FormData)) request.setRequestHeader("Content-Type", "application/octet-stream");
    request.send(body);
  });
  answered.stop = () => request.abort();
  return answered;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const succeeded = (status) => status >= 200 && status < 300;

/** The key of the phrase for a failure, and what it needs; `where` picks a more exact one if there is one. */
function failure(status, where) {
  if (status === -1) return ["cancelled", {}];
  const key = [`error_${status}_${where}`, `error_${status}`].find((each) => each in TEXTS.en);
  return key ? [key, {}] : ["error_other", { status: () => status }];
}

// --- small parts -----------------------------------------------------------------------------------

const find = (id) => document.getElementById(id);

function clone(id) {
  const copied = find(id).content.firstElementChild.cloneNode(true);
  for (const element of copied.querySelectorAll("[data-text]")) say(element, element.dataset.text);
  return copied;
}

/** Tell those who listen instead of looking. */
const announce = (key, values) => say(find("announcement"), key, values);

function tell(element, key, values, failed = false) {
  element.classList.toggle("failed", failed);
  say(element, key, values);
}

async function copy(button, text) {
  const label = button.dataset.text;
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  announce(done ? "copied" : "copy_failed");
  say(button, done ? "copied" : "copy_failed");
  setTimeout(() => say(button, label), 2000);
}

/**
 * Ask before what can't be undone; true when the answer is yes. Each question has a dialog of its own:
 * a dialog tells that it was closed later than it closes, and by then the next question may be open.
 */
function confirmed(question, action, values) {
  const dialog = clone("question");
  say(dialog.querySelector("p"), question, values);
  say(dialog.querySelector(".danger"), action);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Take an element away; the focus goes to the next of its kind rather than to nowhere. */
function remove(element, otherwise) {
  const heir = element.nextElementSibling ?? element.previousElementSibling;
  const had_focus = element.contains(document.activeElement);
  element.remove();
  if (had_focus) (heir?.querySelector(".actions :not([hidden])") ?? otherwise).focus();
}

// --- uploads ---------------------------------------------------------------------------------------

const AT_ONCE = 3;
const queue = [];
let running = 0;

function enqueue(job) {
  queue.push(job);
  work();
}

function work() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    queue.shift()().finally(() => {
      running -= 1;
      work();
    });
  }
}

/** A row of a list of uploads: how far a file is, what went wrong, what can be done with it. */
class Row {
  constructor(list, name, size) {
    this.name = name;
    this.list = list;
    this.element = clone("upload-row");
    this.part(".name").textContent = name;
    if (size !== undefined) say(this.part(".size"), "just", { text: () => format_size(size) });
    this.part("progress").setAttribute("aria-label", name);
    for (const action of ["cancel", "again", "dismiss", "copy_hash", "download", "delete"]) {
      name_action(this.part(`.${action.replace("_hash", "")}`), action, name);
    }
    list.prepend(this.element);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  show(...selectors) {
    for (const element of this.element.querySelectorAll("progress, .hash-line, .actions > *")) {
      element.hidden = !selectors.some((selector) => element.matches(selector));
    }
  }

  tell(key, values, failed = false) {
    this.element.classList.toggle("failed", failed);
    say(this.part(".state"), key, values);
  }

  progress(done, total) {
    this.part("progress").value = total ? done / total : 1;
    if (done === total) return this.tell("flushing");
    this.tell("sending", {
      done: () => format_size(done), size: () => format_size(total), percent: () => format_percent(done / total),
    });
  }

  /** Upload as `start` does, when it is this row's turn, until it succeeds or is given up. */
  upload(start, where, on_success) {
    let stopped = false;
    let sending = null;
    this.show("progress", ".cancel");
    this.part("progress").value = 0;
    this.tell("waiting");
    this.part(".again").onclick = () => this.upload(start, where, on_success);
    this.part(".cancel").onclick = () => {
      stopped = true;
      sending ? sending.stop() : this.fail(-1, where);
    };
    enqueue(async () => {
      if (stopped) return;
      announce("began", { name: () => this.name });
      sending = start((done, total) => this.progress(done, total));
      const answer = await sending;
      if (succeeded(answer.status)) on_success(answer.value);
      else this.fail(answer.status, where);
    });
  }

  fail(status, where) {
    const focused = this.element.contains(document.activeElement);
    const [key, values] = failure(status, where);
    this.show(".again", ".dismiss");
    this.part(".dismiss").onclick = () => remove(this.element, this.list.parentElement.querySelector(".drop input"));
    this.tell(key, values, true);
    announce("broke", { name: () => this.name, reason: () => phrase(key, values) });
    if (focused) this.part(".again").focus();
    if (status === 401) leave("error_401");
  }
}

// --- files -----------------------------------------------------------------------------------------

const KEPT = "filestored.files";
const kept = new Map(parsed(sessionStorage.getItem(KEPT)) ?? []);

function keep(hash, entry) {
  entry ? kept.set(hash, entry) : kept.delete(hash);
  sessionStorage.setItem(KEPT, JSON.stringify([...kept]));
}

function upload_file(file) {
  const row = new Row(find("file-list"), file.name, file.size);
  row.upload(
    (on_progress) => send("./", "POST", file, on_progress),
    "file",
    ({ hash, created }) => {
      forget_rows(hash);
      show_file(row, hash, created ? "stored" : "stored_before");
      keep(hash, { name: file.name, size: file.size });
      announce("is_stored", { name: () => file.name });
    },
  );
}

/** Let a row stand for a stored file. */
function show_file(row, hash, state) {
  const { name } = row;
  const link = row.part(".download");
  row.element.dataset.hash = hash;
  row.part(".hash").textContent = hash;
  link.href = address(`files/${hash}?name=${encodeURIComponent(name)}`);
  link.download = name;
  row.part(".copy").onclick = ({ currentTarget }) => copy(currentTarget, hash);
  row.part(".delete").onclick = async () => {
    if (!await confirmed("delete_file_question", "delete", { name: () => name })) return;
    const { status } = await ask(`files/${hash}`, "DELETE");
    if (!succeeded(status) && status !== 404) return row.tell(...failure(status, "file"), true);
    keep(hash, null);
    remove(row.element, find("file-input"));
    announce("deleted", { name: () => name });
  };
  row.tell(state);
  row.show(".hash-line", ".copy", ".download", ".delete");
}

function forget_rows(hash) {
  for (const row of document.querySelectorAll(`#file-list [data-hash="${CSS.escape(hash)}"]`)) row.remove();
}

async function find_file(event) {
  event.preventDefault();
  const hash = find("fetch-hash").value.trim().toLowerCase();
  const state = find("fetch-state");
  const { status, response } = await ask(`files/${encodeURIComponent(hash)}`, "HEAD");
  if (status !== 200) return tell(state, ...failure(status, "hash"), true);
  const entry = kept.get(hash) ?? { name: hash, size: Number(response.headers.get("Content-Length")) };
  forget_rows(hash);
  show_file(new Row(find("file-list"), entry.name, entry.size), hash, "stored");
  keep(hash, entry);
  tell(state, "found");
}

// --- the account -----------------------------------------------------------------------------------

const ACCOUNT = "filestored.account";
let account = parsed(sessionStorage.getItem(ACCOUNT));

const images_of = (path) => `imageapi/token/${account.token}/${path}`;

async function enter(event) {
  event.preventDefault();
  const name = find("account-name").value;
  const creating = event.submitter?.value === "create";
  const { status, value } = await ask(`imageapi/${creating ? "generate" : "retrieve"}-token/${name}/`);
  if (!succeeded(status)) return tell(find("account-state"), ...failure(status, "account"), true);
  open_account({ name, token: creating ? value.token : value[name] });
  if (creating) tell(find("account-state"), "account_made");
}

function enter_with_token(event) {
  event.preventDefault();
  open_account({ name: null, token: find("token-input").value });
}

function open_account(entered) {
  remember(entered);
  write(find("account-state"));
  show_account();
  find("account-title").focus();
  load_gallery();
}

function remember(entered) {
  account = entered;
  if (account) sessionStorage.setItem(ACCOUNT, JSON.stringify(account));
  else sessionStorage.removeItem(ACCOUNT);
}

function show_account() {
  find("account").hidden = !account;
  find("account-form").hidden = find("token-details").hidden = Boolean(account);
  if (account?.name) write(find("account-title"), account.name);
  else say(find("account-title"), "account_open");
  show_token(false);
}

function show_token(visible) {
  find("account-token").textContent = visible ? account.token : "•".repeat(10);
  find("token-show").setAttribute("aria-pressed", visible);
  say(find("token-show"), visible ? "hide" : "show");
}

/** Forget the token in this tab. */
function leave(reason) {
  remember(null);
  show_account();
  clear_gallery();
  find("image-uploads").replaceChildren();
  find("token-form").reset();
  if (reason) tell(find("account-state"), reason, {}, true);
  else write(find("account-state"));
  find("account-name").focus();
}

async function renew() {
  if (!await confirmed("renew_question", "renew")) return;
  const { status, value } = await ask(images_of("regenerate-token/"), "POST");
  if (status === 401) return leave("error_401");
  if (!succeeded(status)) return tell(find("account-state"), ...failure(status), true);
  remember({ ...account, token: value.token });
  show_token(false);
  tell(find("account-state"), "renewed");
}

// --- the gallery -----------------------------------------------------------------------------------

const THUMBNAIL = 480;
const ANY_IMAGE = { Accept: "image/*, */*;q=0.5" };
const tiles = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    tiles.get(target.dataset.id)?.load();
  }
}, { rootMargin: "200px" });

/** One image of the account. Its bytes come by `fetch`, so that no URL with the token is in the document. */
class Tile {
  constructor(id, name) {
    this.id = id;
    this.name = name;
    this.element = clone("gallery-tile");
    this.element.dataset.id = id;
    this.image = this.part("img");
    this.part(".id").textContent = id;
    this.rename(name);
    this.part(".open").onclick = () => this.view();
    this.part(".download").onclick = () => this.download();
    this.part(".replace").onclick = () => choose_image((file) => upload_image(file, this));
    this.part(".delete").onclick = () => this.delete();
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  rename(name) {
    this.name = name;
    this.part(".name").textContent = name;
    this.part(".kind").textContent = name.includes(".") ? name.split(".").pop() : "?";
    this.part(".open").dataset.label = "open_image";
    given.set(this.part(".open"), { name: () => name });
    this.part(".open").setAttribute("aria-label", phrase("open_image", { name: () => name }));
    for (const action of ["download", "replace", "delete"]) name_action(this.part(`.${action}`), action, name);
  }

  /** The thumbnail, or the image itself where the server makes none. */
  async load() {
    const small = await this.fetch(`?width=${THUMBNAIL}`);
    const { blob } = small.blob ? small : await this.fetch("");
    if (blob) show_blob(this.image, blob);
  }

  /** The image as it was uploaded; null when it can't be had, which is told. */
  async original() {
    const { status, blob } = await this.fetch("");
    if (!blob && status !== 401) tell(find("account-state"), ...failure(status), true);
    return blob;
  }

  async fetch(query) {
    const { status, response } = await ask(images_of(`get-image/${this.id}/${query}`), "GET", ANY_IMAGE);
    if (status === 401) leave("error_401");
    if (status !== 200) return { status, blob: null };
    return response.blob().then((blob) => ({ status, blob }), () => ({ status: 0, blob: null }));
  }

  async download() {
    const blob = await this.original();
    if (blob) save(blob, this.name);
  }

  async view() {
    const blob = await this.original();
    if (!blob) return;
    write(find("viewer-name"), this.name);
    find("viewer-image").alt = this.name;
    show_blob(find("viewer-image"), blob);
    find("viewer").showModal();
  }

  async delete() {
    if (!await confirmed("delete_image_question", "delete", { name: () => this.name })) return;
    const { status } = await ask(images_of(`delete-image/${this.id}/`), "DELETE");
    if (status === 401) return leave("error_401");
    if (!succeeded(status) && status !== 404) return tell(find("account-state"), ...failure(status), true);
    tiles.delete(this.id);
    remove(this.element, find("image-input"));
    find("gallery-empty").hidden = tiles.size > 0;
    announce("deleted", { name: () => this.name });
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

let loads = 0;

/** Make the tiles what the account's list says; those that are there already stay. The last one asked for counts. */
async function load_gallery() {
  const owner = account;
  const turn = ++loads;
  const { status, value } = await ask(images_of("get-image-list/"));
  if (owner !== account || turn !== loads) return;
  if (status === 401) return leave("error_401");
  if (status !== 200) return tell(find("account-state"), ...failure(status), true);
  const listed = Object.entries(value).sort(([one], [other]) => one.localeCompare(other, language));
  for (const [name, id] of listed) {
    if (!tiles.has(id)) tiles.set(id, new Tile(id, name));
    const tile = tiles.get(id);
    if (tile.name !== name) tile.rename(name);
    if (!tile.element.isConnected) seen.observe(tile.element);
  }
  const present = new Set(Object.values(value));
  for (const id of [...tiles.keys()]) if (!present.has(id)) tiles.delete(id);
  arrange(listed.map(([, id]) => tiles.get(id).element));
}

/** Put the tiles in order without moving one that is in its place, so that none loses the focus. */
function arrange(elements) {
  const gallery = find("gallery");
  for (const child of [...gallery.children]) if (!elements.includes(child)) child.remove();
  elements.forEach((element, place) => {
    if (gallery.children[place] !== element) gallery.insertBefore(element, gallery.children[place] ?? null);
  });
  find("gallery-empty").hidden = elements.length > 0;
}

function clear_gallery() {
  seen.disconnect();
  tiles.clear();
  find("gallery").replaceChildren();
}

/** Add an image, or put it in the place of that of a tile. */
function upload_image(file, tile = null) {
  const form = new FormData();
  form.append("file", file, file.name);
  const row = new Row(find("image-uploads"), file.name, file.size);
  const start = (on_progress) =>
    tile
      ? send(images_of(`update-image/${tile.id}/`), "PATCH", form, on_progress)
      : send(images_of("upload-image/"), "POST", form, on_progress);
  row.upload(start, "image", async () => {
    announce("is_stored", { name: () => file.name });
    remove(row.element, find("image-input"));
    await load_gallery();
    tile?.load();
  });
}

function choose_image(use) {
  const input = find("image-input").cloneNode();
  input.multiple = false;
  input.onchange = () => input.files.length && use(input.files[0]);
  input.click();
}

// --- the page --------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];
const current_tab = () => tabs.find((tab) => tab.getAttribute("aria-selected") === "true");

function select_tab(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", each === tab);
    each.tabIndex = each === tab ? 0 : -1;
    find(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
  history.replaceState(null, "", tab.id === "tab-images" ? "#images" : location.pathname + location.search);
}

function move_between_tabs(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -tabs.indexOf(event.target), End: tabs.length - 1 };
  if (!(event.key in steps)) return;
  const place = event.key === "End" ? steps.End : tabs.indexOf(event.target) + steps[event.key];
  const tab = tabs[(place + tabs.length) % tabs.length];
  event.preventDefault();
  select_tab(tab);
  tab.focus();
}

function take(files) {
  const images = current_tab().id === "tab-images";
  if (images && !account) return find("account-name").focus();
  for (const file of [...files].reverse()) images ? upload_image(file) : upload_file(file);
}

function listen_for_drops() {
  const carries_files = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!carries_files(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget ?? mark(false));
  addEventListener("drop", (event) => {
    if (!carries_files(event)) return;
    event.preventDefault();
    mark(false);
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => event.clipboardData.files.length && take(event.clipboardData.files));
}

function listen_to_inputs() {
  find("file-input").multiple = true;
  for (const input of [find("file-input"), find("image-input")]) {
    input.onchange = () => {
      take(input.files);
      input.value = "";
    };
  }
  find("fetch-form").onsubmit = find_file;
  find("account-form").onsubmit = enter;
  find("token-form").onsubmit = enter_with_token;
  find("token-show").onclick = ({ currentTarget }) => show_token(currentTarget.getAttribute("aria-pressed") !== "true");
  find("token-copy").onclick = ({ currentTarget }) => copy(currentTarget, account.token);
  find("token-renew").onclick = renew;
  find("account-leave").onclick = () => leave();
}

function begin() {
  document.documentElement.classList.add("scripting");
  for (const button of document.querySelectorAll("[data-language]")) {
    button.onclick = () => {
      localStorage.setItem(LANGUAGE, button.dataset.language);
      speak(button.dataset.language);
    };
  }
  for (const tab of tabs) {
    tab.onclick = () => select_tab(tab);
    tab.onkeydown = move_between_tabs;
  }
  listen_for_drops();
  listen_to_inputs();
  addEventListener("beforeunload", (event) => running && event.preventDefault());
  find("curl-line").textContent = `curl -F file=@photo.jpg ${address("./").split(/[?#]/)[0]}`;
  for (const [hash, { name, size }] of kept) show_file(new Row(find("file-list"), name, size), hash, "stored");
  show_account();
  if (account) load_gallery();
  if (location.hash === "#images") select_tab(find("tab-images"));
  speak(language);
}

begin();
