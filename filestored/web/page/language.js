// The language of the page: texts of elements, which follow a change of language, and formats of numbers and dates.
//
// An element remembers the key of its text and the values in it. Values are functions, so that a size or a date
// is formatted anew when the language changes.

import { read_text, write_text } from "./storage.js";
import { TEXTS } from "./texts.js";

const KEY = "filestored.language";
const values_of = new WeakMap();
const stored = read_text("localStorage", KEY);
const preferred = navigator.language.startsWith("ru") ? "ru" : "en";
let language = Object.hasOwn(TEXTS, stored) ? stored : preferred;

/** Return a text in the present language. `values` has a function for each name in braces. */
export function phrase(key, values = {}) {
  const text = TEXTS[language][key];
  const form = typeof text === "string" ? text : text[new Intl.PluralRules(language).select(values.count())];
  return form.replace(/\{(\w+)\}/g, (_, name) => (name === "count" ? format_number(values.count()) : values[name]()));
}

/** Show a text in an element. */
export function set_text(element, key, values = {}) {
  element.dataset.text = key;
  values_of.set(element, values);
  element.textContent = phrase(key, values);
}

/** Show a text that is the same in every language, or none. */
export function set_plain(element, text = "") {
  delete element.dataset.text;
  element.textContent = text;
}

/** Set the accessible name of an element. */
export function set_label(element, key, values = {}) {
  element.dataset.label = key;
  values_of.set(element, values);
  element.setAttribute("aria-label", phrase(key, values));
}

/** Set the accessible name of a button that stands beside the name it is about: "Delete: poem.txt". */
export function label_action(element, key, name) {
  element.dataset.action = key;
  element.dataset.name = name;
  element.setAttribute("aria-label", phrase("of_name", { action: () => phrase(key), name: () => name }));
}

/** Show the page in a language, now and on later visits. */
export function choose_language(chosen) {
  language = chosen;
  write_text("localStorage", KEY, chosen);
  translate();
}

/** Show all texts of the document in the present language. */
export function translate() {
  const all = (selector) => document.querySelectorAll(selector);
  document.documentElement.lang = language;
  for (const each of all("[data-text]")) each.textContent = phrase(each.dataset.text, values_of.get(each));
  for (const each of all("[data-action]")) label_action(each, each.dataset.action, each.dataset.name);
  for (const each of all("[data-label]")) set_label(each, each.dataset.label, values_of.get(each));
  for (const each of all("[data-placeholder]")) each.placeholder = phrase(each.dataset.placeholder);
  for (const each of all("[data-language]")) each.setAttribute("aria-pressed", each.dataset.language === language);
}

// --- formats ---------------------------------------------------------------------------------------

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

function format_bytes(bytes, per, display) {
  const power = bytes < 1000 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const digits = power ? 1 : 0;
  const style = { style: "unit", unit: UNITS[power] + per, unitDisplay: display(power), maximumFractionDigits: digits };
  return new Intl.NumberFormat(language, style).format(bytes / 1000 ** power);
}

const format_unit = (value, unit) =>
  new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(value);

export const format_number = (value) => new Intl.NumberFormat(language).format(value);
export const format_percent = (share) => new Intl.NumberFormat(language, { style: "percent" }).format(share);
export const format_size = (bytes) => format_bytes(bytes, "", (power) => (power ? "short" : "long"));
export const format_speed = (bytes) => format_bytes(bytes, "-per-second", () => "short");
export const format_date = (date) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(date);

/** Return seconds as seconds, minutes, or hours and minutes. */
export function format_duration(seconds) {
  if (seconds < 60) return format_unit(Math.max(1, Math.round(seconds)), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return format_unit(minutes, "minute");
  return `${format_unit(Math.floor(minutes / 60), "hour")} ${format_unit(minutes % 60, "minute")}`;
}

/** Return names in the order of the present language. */
export const compare_names = (one, other) => new Intl.Collator(language).compare(one, other);
