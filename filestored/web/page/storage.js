// Web storage of the browser. It may be disabled or full, and it may hold text that this page did not write.
// `area` is "localStorage", which stays, or "sessionStorage", which ends with the tab.

/** Return the text under a key, or null. */
export function read_text(area, key) {
  try {
    return globalThis[area].getItem(key);
  } catch {
    return null;
  }
}

/** Keep a text under a key, or remove it if it is null. Return false when the browser does not allow it. */
export function write_text(area, key, text) {
  try {
    if (text === null) globalThis[area].removeItem(key);
    else globalThis[area].setItem(key, text);
    return true;
  } catch {
    return false;
  }
}

/** Return the JSON value of a text, or null when it is none. */
export function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const read_json = (area, key) => parse(read_text(area, key));
export const write_json = (area, key, value) => write_text(area, key, value === null ? null : JSON.stringify(value));
