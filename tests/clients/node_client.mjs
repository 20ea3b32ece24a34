// HTTP clients of Node that upload one file several times. Input and output are those of python_client.py.

import { createReadStream, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(import.meta.url);
const TYPE = { "Content-Type": "application/octet-stream" };

async function byFetch(method, url, headers, body, more = {}) {
  const response = await fetch(url, { method, headers, body, ...more });
  return [response.status, await response.text()];
}

function form(path) {
  const fields = new FormData();
  fields.append("note", "text");
  fields.append("file", new Blob([readFileSync(path)]), "x");
  return fields;
}

async function byAxios(method, url, headers, data) {
  const axios = require("axios");
  const response = await axios({
    method, url, headers, data,
    maxBodyLength: Infinity, validateStatus: null, responseType: "text", proxy: false,
  });
  return [response.status, response.data];
}

const CLIENTS = {
  "fetch bytes": (method, url, headers, path) =>
    byFetch(method, url, { ...TYPE, ...headers }, readFileSync(path)),
  "fetch chunked": (method, url, headers, path) =>
    byFetch(method, url, { ...TYPE, ...headers }, Readable.toWeb(createReadStream(path)), { duplex: "half" }),
  "fetch form": (method, url, headers, path) => byFetch(method, url, headers, form(path)),
  "axios bytes": (method, url, headers, path) =>
    byAxios(method, url, { ...TYPE, ...headers }, readFileSync(path)),
  "axios file": (method, url, headers, path) =>
    byAxios(method, url, { ...TYPE, "Content-Length": statSync(path).size, ...headers }, createReadStream(path)),
  "axios chunked": (method, url, headers, path) =>
    byAxios(method, url, { ...TYPE, ...headers }, createReadStream(path)),
  "axios form": (method, url, headers, path) => byAxios(method, url, headers, form(path)),
};

const job = JSON.parse(readFileSync(0, "utf8"));
const answers = [];
for (const request of job.requests) {
  try {
    answers.push(await CLIENTS[job.client](...request, job.file));
  } catch (error) {
    answers.push([0, `${error} ${error.cause ?? ""}`]);
  }
}
console.log(JSON.stringify(answers));
