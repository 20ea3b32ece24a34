// Signed links: GET of one path without credentials, until a time. Computed here, without the server.
//
// T is the SHA-256 of the token. The key is the first 16 hexadecimal digits of the SHA-256 of T; the signature is the
// HMAC-SHA-256, keyed with T, of "GET", the path and the expiry.

/** Return true when the browser lets this page sign: on https and on localhost. */
export const can_sign = () => Boolean(globalThis.crypto?.subtle);

/** Return the query of a signed link for a path; `expires` is in seconds since the epoch. */
export async function sign(token, path, expires) {
  const encoder = new TextEncoder();
  const secret = await crypto.subtle.digest("SHA-256", encoder.encode(token));
  const id = hexadecimal(await crypto.subtle.digest("SHA-256", secret)).slice(0, 16);
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, encoder.encode(`GET\n${path}\n${expires}`));
  return `key=${id}&expires=${expires}&signature=${base64url(signature)}`;
}

const hexadecimal = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
