// The queue of all uploads: three at a time, with the pauses that the server asks for, and one total.
//
// A batch may have thousands of files. So only the next `MAX_OPEN_ROWS` files have rows, and what changes while
// files are sent is shown four times a second.

import { announce, remove } from "./elements.js";
import { format_duration, format_percent, format_size, format_speed, phrase } from "./language.js";
import { Row } from "./row.js";
import { CANCELLED, NO_ANSWER, failure_text, is_reachable, may_succeed_later, succeeded } from "./server.js";
import { Speed } from "./speed.js";

const MAX_PARALLEL = 3;
const MAX_OPEN_ROWS = 50;
const MAX_FAILED_ROWS = 100;
const MAX_PAUSES = 20;
const UPDATE_MILLISECONDS = 250;
const PROBE_MILLISECONDS = 5000;
const MAX_ANNOUNCED = 3;

let waiting = [];
const running = new Set();
const failed = new Set();
let held = false;
let updates = null;
let total = new_total();
const listeners = [];

function new_total() {
  return { files: 0, bytes: 0, done_files: 0, done_bytes: 0, sent_bytes: 0, stored: 0, speed: new Speed() };
}

/** Call a function whenever the total has changed. */
export const on_total_change = (listener) => listeners.push(listener);
export const is_uploading = () => running.size + waiting.length > 0;

/** Return the state of all uploads. */
export function total_state() {
  const done = total.done_bytes + sent_by_running();
  const share = total.bytes ? done / total.bytes : total.done_files / Math.max(1, total.files);
  return {
    ...total, share, held, failed: failed.size, waiting: waiting.length, active: is_uploading(),
    text: () => progress_text(total.speed, total.bytes - done),
  };
}

/** Return how many files are stored and how many are not. */
export function result_text() {
  const not_stored = failed.size ? phrase("all_failed", { count: () => failed.size }) : "";
  const stored = total.stored || !not_stored ? phrase("all_stored", { count: () => total.stored }) : "";
  return [stored, not_stored].filter(Boolean).join(" · ");
}

const sent_by_running = () => [...running].reduce((sum, upload) => sum + upload.sent_bytes, 0);

/** Return speed and time left, as far as they are known. */
function progress_text(speed, bytes_left) {
  const seconds = speed.seconds_for(bytes_left);
  const left = seconds === null ? "" : phrase("time_left", { time: () => format_duration(seconds) });
  return [speed.value ? format_speed(speed.value) : "", left].filter(Boolean).join(" · ");
}

// --- one upload ------------------------------------------------------------------------------------

export class Upload {
  /**
   * `send` sends the file and returns the promise of `server.send`. `on_stored` is called with its JSON value and the
   * row. `more_actions` returns the actions after a failure, by its status. `subject` selects the texts of failures.
   */
  constructor({ file, name, list, order, subject, send, on_stored, more_actions = () => ({}) }) {
    Object.assign(this, { file, name, list, order, subject, send, on_stored, more_actions });
    this.row = null;
    this.share = 0;
  }

  get sent_bytes() {
    return this.share * this.file.size;
  }

  get focus_after() {
    return this.list.parentElement.querySelector(".drop input");
  }

  open_row() {
    this.row ??= new Row(this.list, this.order, this.name, this.file.size);
    this.row.set_state("waiting", "waiting");
    this.row.set_actions({ cancel: () => this.cancel() });
  }

  close_row() {
    if (this.row) remove(this.row.element, this.focus_after);
    this.row = null;
  }

  /** Send the file until it is stored, refused or cancelled. Return the last answer. */
  async run() {
    for (let pauses = 0; ; pauses += 1) {
      this.share = 0;
      this.speed = new Speed();
      this.request = this.send((share) => { this.share = share; });
      this.update();
      const answer = await this.request;
      if (answer.status !== 503 || answer.retry_after === null || pauses === MAX_PAUSES) return answer;
      if (!(await this.pause(answer.retry_after))) return { status: CANCELLED };
    }
  }

  /** Wait, and show the seconds. Return false when the upload is cancelled meanwhile. */
  pause(seconds) {
    this.share = 0;
    this.resume_at = performance.now() + seconds * 1000;
    return new Promise((resolve) => {
      const end = (goes_on) => {
        clearTimeout(timer);
        this.resume_at = null;
        resolve(goes_on);
      };
      const timer = setTimeout(end, seconds * 1000, true);
      this.request = { cancel: () => end(false) };
      this.update();
    });
  }

  /** Show the progress. */
  update() {
    const now = performance.now();
    this.speed.add(now, this.sent_bytes);
    if (!this.row) return;
    this.row.set_progress(this.share);
    if (this.resume_at) {
      const count = () => Math.max(1, Math.ceil((this.resume_at - now) / 1000));
      this.row.set_state("sending", "busy", { count });
    } else if (this.share === 1) {
      this.row.set_state("sending", "flushing");
    } else {
      this.row.set_state("sending", "just", { text: () => this.progress_text() });
    }
  }

  progress_text() {
    const values = {
      done: () => format_size(Math.round(this.sent_bytes)),
      size: () => format_size(this.file.size),
      percent: () => format_percent(this.share),
    };
    const more = progress_text(this.speed, this.file.size - this.sent_bytes);
    return [phrase("sending", values), more].filter(Boolean).join(" · ");
  }

  cancel() {
    if (running.has(this)) return this.request.cancel();
    waiting = waiting.filter((each) => each !== this);
    finish(this, { status: CANCELLED });
    fill();
  }

  /** Show a failure, and the actions after it. */
  fail(answer, subject) {
    failed.add(this);
    const more = this.more_actions(answer.status, this);
    if (this.withdrawn) return;
    const [key, values] = failure_text(answer, subject);
    const text = { name: () => this.name, reason: () => phrase(key, values) };
    if (total.files <= MAX_ANNOUNCED) announce("failed_because", text);
    this.can_retry = may_succeed_later(answer.status);
    if (!this.row) return;
    this.row.set_state(answer.status === CANCELLED ? "cancelled" : "failed", key, values);
    this.row.set_actions({
      ...(this.can_retry ? { again: () => retry([this]) } : {}),
      ...more,
      dismiss: () => dismiss([this]),
    });
    if (count_failed_rows() > MAX_FAILED_ROWS) this.close_row();
  }
}

// --- the queue -------------------------------------------------------------------------------------

/** Add uploads to the queue. */
export function enqueue(uploads) {
  if (!uploads.length) return;
  if (!is_uploading()) total = new_total();
  for (const upload of uploads) {
    waiting.push(upload);
    total.files += 1;
    total.bytes += upload.file.size;
  }
  if (uploads.length === 1) announce("began", { name: () => uploads[0].name });
  else announce("uploading_files", { count: () => uploads.length });
  fill();
}

/** Upload again what failed. */
export function retry(uploads) {
  for (const upload of uploads) failed.delete(upload);
  held = false;
  enqueue(uploads);
}

const count_failed_rows = () => [...failed].filter((upload) => upload.row).length;

/** Leave failed uploads alone, and remove their rows. */
export function dismiss(uploads) {
  for (const upload of uploads) {
    failed.delete(upload);
    upload.close_row();
  }
  report();
}

export const retry_all = () => retry([...failed].filter((upload) => upload.can_retry));
export const dismiss_all = () => dismiss([...failed]);
export const can_retry_any = () => [...failed].some((upload) => upload.can_retry);

/** Cancel all uploads, or those that `concerned` selects. */
export function cancel_all(concerned = () => true) {
  const cancelled = waiting.filter(concerned);
  waiting = waiting.filter((upload) => !concerned(upload));
  for (const upload of cancelled) finish(upload, { status: CANCELLED });
  for (const upload of [...running].filter(concerned)) upload.request.cancel();
  fill();
}

/** Remove uploads from the queue and from the page without a word, and return their files. */
export function withdraw(concerned) {
  const withdrawn = [...running, ...waiting, ...failed].filter(concerned);
  for (const upload of withdrawn) upload.withdrawn = true;
  cancel_all(concerned);
  dismiss(withdrawn);
  return withdrawn.map((upload) => ({ file: upload.file, name: upload.name }));
}

function fill() {
  while (!held && running.size < MAX_PARALLEL && waiting.length) start(waiting.shift());
  const open = Math.max(0, MAX_OPEN_ROWS - running.size);
  for (const upload of waiting.slice(0, open)) if (!upload.row || upload.row.actions.again) upload.open_row();
  if (is_uploading()) updates ??= setInterval(update, UPDATE_MILLISECONDS);
  report();
}

async function start(upload) {
  running.add(upload);
  upload.open_row();
  let answer = await upload.run();
  // A proxy may answer with a page of its own.
  if (succeeded(answer.status) && answer.value === null) answer = { ...answer, status: NO_ANSWER };
  const unreachable = answer.status === NO_ANSWER && !(await is_reachable());
  if (unreachable) hold();
  running.delete(upload);
  finish(upload, answer, unreachable ? "unreachable" : upload.subject);
  fill();
}

function finish(upload, answer, subject = upload.subject) {
  total.done_files += 1;
  total.done_bytes += upload.file.size;
  total.sent_bytes += upload.sent_bytes;
  if (upload.withdrawn) return;
  if (!succeeded(answer.status)) {
    upload.fail(answer, subject);
  } else {
    total.stored += 1;
    if (total.files <= MAX_ANNOUNCED) announce("is_stored", { name: () => upload.name });
    upload.on_stored(answer.value, upload);
  }
  if (!is_uploading() && total.files > MAX_ANNOUNCED) announce("just", { text: result_text });
}

/** Start no upload until the server answers again. */
async function hold() {
  if (held) return;
  held = true;
  announce("error_0_unreachable");
  while (held && waiting.length && !(await is_reachable())) await new Promise((resolve) => setTimeout(resolve, PROBE_MILLISECONDS));
  held = false;
  fill();
}

function update() {
  for (const upload of running) upload.update();
  if (!is_uploading()) {
    clearInterval(updates);
    updates = null;
  }
  total.speed.add(performance.now(), total.sent_bytes + sent_by_running());
  report();
}

let reported = false;

/** Tell the listeners, once for all changes before the next frame. */
function report() {
  if (reported) return;
  reported = true;
  setTimeout(() => {
    reported = false;
    for (const listener of listeners) listener();
  });
}
