// A row of a list of uploads: the name of a file, its progress, its state, and the buttons that apply.
//
// Rows are in order of batches, the newest first; within a batch in the order of the files. One listener for each
// list serves all of its rows.

import { clone } from "./elements.js";
import { format_date, format_size, label_action, set_label, set_text } from "./language.js";

const row_of = new WeakMap();

/** Return a negative number when the row of `one` is above that of `other`. */
export const compare_order = (one, other) => other.batch - one.batch || one.index - other.index;

/** Return the order of the files of a new batch. A random part separates batches of several tabs. */
export function new_batch() {
  const batch = Date.now() + Math.random();
  return (index) => ({ batch, index });
}

export class Row {
  /** `order` is the place in the list. */
  constructor(list, order, name, size) {
    this.order = order;
    this.element = clone("upload-row");
    this.actions = {};
    row_of.set(this.element, this);
    this.part(".name").textContent = name;
    set_text(this.part(".size"), "just", { text: () => format_size(size) });
    set_label(this.part("progress"), "just", { text: () => name });
    for (const each of this.buttons()) label_action(each, each.dataset.text, name);
    const below = [...list.children].find((each) => compare_order(order, row_of.get(each).order) < 0);
    list.insertBefore(this.element, below ?? null);
  }

  part(selector) {
    return this.element.querySelector(selector);
  }

  buttons() {
    return this.element.querySelectorAll("[data-do]");
  }

  /** Show a state, by its text or by a key and values; `kind` is a class: sending, failed, deleted. */
  set_state(kind, key, values) {
    this.element.className = `upload ${kind}`;
    this.part("progress").hidden = kind !== "sending";
    set_text(this.part(".state"), key, values);
  }

  set_progress(share) {
    this.part("progress").value = share;
  }

  set_date(date) {
    const time = this.part("time");
    time.dateTime = new Date(date).toISOString();
    set_text(time, "just", { text: () => format_date(date) });
  }

  /** Show the buttons of `actions`, which has a function for each. The focus stays in the row. */
  set_actions(actions) {
    const focused = document.activeElement;
    this.actions = actions;
    for (const each of this.buttons()) each.hidden = !Object.hasOwn(actions, each.dataset.do);
    if (focused.hidden && this.element.contains(focused)) this.part("[data-do]:not([hidden])")?.focus();
  }
}

/** Call the actions of the rows of a list. */
export function listen_to_rows(list) {
  list.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-do]");
    if (button) row_of.get(button.closest("li")).actions[button.dataset.do]?.(button);
  });
}
