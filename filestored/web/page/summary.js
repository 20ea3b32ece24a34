// The line for all uploads: files, percent, speed and time left; buttons to cancel all and to try all again.

import { find } from "./elements.js";
import { format_number, format_percent, phrase, set_text } from "./language.js";
import * as queue from "./queue.js";

function show() {
  const state = queue.total_state();
  const focused = document.activeElement;
  find("all-uploads").hidden = !(state.active ? state.files > 1 : state.files > 1 || state.failed > 1);
  find("all-progress").hidden = find("all-cancel").hidden = !state.active;
  find("all-progress").value = state.share;
  find("all-again").hidden = state.active || !queue.can_retry_any();
  find("all-dismiss").hidden = state.active || !state.failed;
  set_text(find("all-state"), "just", { text: () => text(state) });
  if (focused.hidden && find("all-uploads").contains(focused)) find("all-state").focus();
}

function text(state) {
  if (state.active && state.held) return phrase("all_held", { count: () => state.waiting });
  if (!state.active) return queue.result_text();
  const failed = state.failed ? phrase("all_failed", { count: () => state.failed }) : "";
  const values = {
    done: () => format_number(state.done_files),
    count: () => state.files,
    percent: () => format_percent(state.share),
  };
  return [phrase("all_sending", values), state.text(), failed].filter(Boolean).join(" · ");
}

export function begin_summary() {
  find("all-cancel").onclick = () => queue.cancel_all();
  find("all-again").onclick = queue.retry_all;
  find("all-dismiss").onclick = queue.dismiss_all;
  queue.on_total_change(show);
}
