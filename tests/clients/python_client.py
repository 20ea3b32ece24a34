"""HTTP clients of Python that upload one file several times; run as a program.

In: a JSON object on stdin: ``client``, a key of `CLIENTS`; ``file``, a path; ``requests``, a list of
``[method, url, {name: value}]``. Out: a JSON list of ``[status, body]`` on stdout. Each request has a
connection of its own. Status 0 and the text of the error stand for a client that raises instead of returning
the response.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import httpx
import requests

PIECE_BYTES = 100_000
TIMEOUT = 60

Fields = dict[str, str]
Answer = tuple[int, str]


def pieces(path: str) -> Iterator[bytes]:
    """Yield the file in pieces, which clients send chunked."""
    with open(path, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


async def async_pieces(path: str) -> AsyncIterator[bytes]:
    for piece in pieces(path):
        yield piece


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


# --- urllib -------------------------------------------------------------------------------------------------


def send_by_urllib(method: str, url: str, fields: Fields, body: object) -> Answer:
    fields = {"Content-Type": "application/octet-stream", **fields}
    request = urllib.request.Request(url, body, fields, method=method)  # type: ignore[arg-type]  # any kind of body
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def urllib_bytes(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_urllib(method, url, fields, content(path))


def urllib_file(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_urllib(method, url, {"Content-Length": str(file.seek(0, 2)), **fields}, rewound(file))


def urllib_chunked(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_urllib(method, url, fields, pieces(path))


def rewound(file):
    file.seek(0)
    return file


# --- requests -----------------------------------------------------------------------------------------------


def send_by_requests(method: str, url: str, fields: Fields, **body: object) -> Answer:
    response = requests.request(method, url, headers=fields, timeout=TIMEOUT, **body)  # type: ignore[arg-type]  # any kind
    return response.status_code, response.text


def requests_bytes(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_requests(method, url, fields, data=content(path))


def requests_file(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_requests(method, url, fields, data=file)


def requests_chunked(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_requests(method, url, fields, data=pieces(path))


def requests_form(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_requests(method, url, fields, files={"file": file}, data={"note": "text"})


# --- httpx --------------------------------------------------------------------------------------------------


def send_by_httpx(method: str, url: str, fields: Fields, **body: object) -> Answer:
    response = httpx.request(method, url, headers=fields, timeout=TIMEOUT, **body)  # type: ignore[arg-type]  # any kind
    return response.status_code, response.text


def httpx_bytes(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_httpx(method, url, fields, content=content(path))


def httpx_chunked(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_httpx(method, url, fields, content=pieces(path))


def httpx_form(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_httpx(method, url, fields, files={"file": file}, data={"note": "text"})


def httpx_async_chunked(method: str, url: str, fields: Fields, path: str) -> Answer:
    async def send() -> Answer:
        async with httpx.AsyncClient(timeout=TIMEOUT) as client:
            response = await client.request(method, url, headers=fields, content=async_pieces(path))
            return response.status_code, response.text

    return asyncio.run(send())


# --- aiohttp ------------------------------------------------------------------------------------------------


def send_by_aiohttp(method: str, url: str, fields: Fields, body: Callable[[], object]) -> Answer:
    async def send() -> Answer:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=fields, data=body()) as response,
        ):
            return response.status, await response.text()

    return asyncio.run(send())


def aiohttp_file(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_aiohttp(method, url, fields, lambda: file)


def aiohttp_chunked(method: str, url: str, fields: Fields, path: str) -> Answer:
    return send_by_aiohttp(method, url, fields, lambda: async_pieces(path))


def aiohttp_form(method: str, url: str, fields: Fields, path: str) -> Answer:
    with open(path, "rb") as file:
        return send_by_aiohttp(method, url, fields, lambda: {"file": file, "note": "text"})


CLIENTS = {
    "urllib bytes": urllib_bytes,
    "urllib file": urllib_file,
    "urllib chunked": urllib_chunked,
    "requests bytes": requests_bytes,
    "requests file": requests_file,
    "requests chunked": requests_chunked,
    "requests form": requests_form,
    "httpx bytes": httpx_bytes,
    "httpx chunked": httpx_chunked,
    "httpx form": httpx_form,
    "httpx async chunked": httpx_async_chunked,
    "aiohttp file": aiohttp_file,
    "aiohttp chunked": aiohttp_chunked,
    "aiohttp form": aiohttp_form,
}


def send(client: str, request: tuple[str, str, Fields], path: str) -> Answer:
    try:
        return CLIENTS[client](*request, path)
    except Exception as error:
        return 0, repr(error)


if __name__ == "__main__":
    job = json.load(sys.stdin)
    print(json.dumps([send(job["client"], request, job["file"]) for request in job["requests"]]))
