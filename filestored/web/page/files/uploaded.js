// The list of uploaded files, kept in localStorage, which all tabs of the browser share.
//
// An entry is `{ bucket, batch, index, hash, name, size, date, deleted }`; the page shows those of its bucket. When the
// browser keeps nothing, or has no room, the list lives in this tab only. Additions are written four times a second, so that thousands of small files
// do not write it thousands of times.

import { compare_order } from "../row.js";
import { read_json, write_json } from "../storage.js";
import { bucket } from "./access.js";

const KEY = "filestored.files";
const MAX_ENTRIES = 500;
const WRITE_MILLISECONDS = 250;

export const key_of = ({ batch, index }) => `${batch}/${index}`;
const is_here = (entry) => (entry.bucket ?? "default") === bucket;
const is_date = (date) => !Number.isNaN(new Date(date).getTime());

let entries = load();
let kept = true;
let unwritten = [];
let timer = null;
let report = () => {};

/** Return the entries of this bucket, the last ones first. */
export const list_entries = () => entries.filter(is_here);

/** Return the name under which a file was uploaded here, or undefined. */
export const name_of = (hash) => list_entries().find((each) => each.hash === hash && each.name !== hash)?.name;

/** Return false when the browser does not keep the list. */
export const is_kept = () => kept;

/** Return the first entry of each content, by hash. */
export function originals() {
  const first = new Map();
  for (const entry of list_entries()) {
    const other = first.get(entry.hash);
    if (!other || is_older(entry, other)) first.set(entry.hash, entry);
  }
  return first;
}

const is_older = (one, other) => (one.batch - other.batch || one.index - other.index) < 0;

export function add_entry(added) {
  const entry = { ...added, bucket };
  entries = latest([entry, ...with_hashes(entries, [entry.hash], { deleted: false })]);
  unwritten.push(entry);
  timer ??= setTimeout(write_additions, WRITE_MILLISECONDS);
}

export const remove_entry = (entry) => change((list) => list.filter((each) => key_of(each) !== key_of(entry)));
export const remove_all_entries = () => change((list) => list.filter((each) => !is_here(each)));

/** Mark all entries with a hash as deleted from the server. */
export const mark_deleted = (hash) => change((list) => with_hashes(list, [hash], { deleted: true }));

/** Return a list in which the entries of this bucket with these hashes have other `values`. */
function with_hashes(list, hashes, values) {
  const changed = new Set(hashes);
  return list.map((each) => (changed.has(each.hash) && is_here(each) ? { ...each, ...values } : each));
}

function write_additions() {
  clearTimeout(timer);
  timer = null;
  if (!unwritten.length) return;
  const was_kept = kept;
  const hashes = unwritten.map((each) => each.hash);
  change((list) => with_hashes(list, hashes, { deleted: false }));
  if (kept !== was_kept) report();
}

/** Change the list as it is now in the browser: another tab may have changed it. */
function change(edit) {
  entries = latest(edit(kept ? with_unwritten(load()) : entries));
  unwritten = [];
  kept = write_json("localStorage", KEY, entries);
}

const with_unwritten = (list) => [...unwritten, ...list];

/** Return the latest entries, each once, in their order. */
function latest(list) {
  const unique = [...new Map(list.map((each) => [key_of(each), each])).values()];
  return unique.sort((one, other) => other.date - one.date).slice(0, MAX_ENTRIES).sort(compare_order);
}

function load() {
  const list = read_json("localStorage", KEY);
  return Array.isArray(list) ? latest(list.filter(is_entry)) : [];
}

/** Return true for an entry that this page can show: the browser may hold anything. */
function is_entry(entry) {
  const texts = typeof entry?.hash === "string" && typeof entry.name === "string";
  const numbers = [entry?.batch, entry?.index, entry?.size, entry?.date].every(Number.isFinite);
  return texts && numbers && /^[0-9a-f]{16,128}$/.test(entry.hash) && entry.size >= 0 && is_date(entry.date);
}

/** Call a function when another tab has changed the list, and when the browser stops or begins to keep it. */
export function on_change(listener) {
  report = listener;
  addEventListener("storage", ({ key }) => {
    if (!kept || (key !== KEY && key !== null)) return;
    entries = latest(with_unwritten(load()));
    listener();
  });
  addEventListener("pagehide", write_additions);
}
