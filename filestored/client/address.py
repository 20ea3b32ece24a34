"""Addresses of servers and files. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, urlsplit

PORTS = {"http": 80, "https": 443}
"""Default ports of the schemes."""

_HASH = re.compile("[0-9a-f]{32,128}", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*", re.ASCII)
_VISIBLE = re.compile("[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Address of a server. `path` is that of a proxy; `socket` is the path of a Unix socket, or empty."""

    scheme: str
    host: str
    port: int
    path: str = ""
    socket: str = ""

    def __str__(self) -> str:
        if self.socket:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A file on a server: its hash, and the target of requests. `trusted` says whether it gets the token."""

    server: ServerAddress
    target: str
    hash: str
    trusted: bool


def parse_server(text: str) -> ServerAddress:
    """Parse the address of a server, as ``https://files.example`` or ``unix:/run/f.sock``.

    Raises `ValueError`.
    """
    if text.startswith("unix:/"):
        return ServerAddress("http", "localhost", 80, socket=text.removeprefix("unix:"))
    parts = _split(text)
    path = parts.path.rstrip("/")
    if parts.query or parts.fragment or "?" in text or "#" in text or not _PATH.fullmatch(path):
        raise ValueError(f"{text!r} is not the address of a server; write it like https://files.example")
    return _server(parts, path)


def parse_hash(text: str) -> str:
    """Return a hash in lower case. Raises `ValueError`."""
    if not _HASH.fullmatch(text.lower()):
        raise ValueError(f"{text!r} is not a hash: 32 to 128 hexadecimal digits")
    return text.lower()


def is_url(text: str) -> bool:
    """Return whether a text is a URL instead of a hash."""
    return "://" in text


def parse_link(text: str, server: ServerAddress | None) -> FileAddress:
    """Parse the URL of a file, which may be a signed link. Raises `ValueError`, whose text lacks the query.

    Only a URL of `server` without a signature is trusted.
    """
    parts = _split(text)
    query = parse_qs(parts.query)
    names = [*query.get("file_hash", ()), *query.get("hash", ())] or [parts.path.rpartition("/")[2]]
    if len(names) != 1 or not _HASH.fullmatch(names[0].lower()):
        raise ValueError("a URL has to be that of a file: https://files.example/files/HASH")
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    found = _server(parts, "")
    same = server is not None and (found.scheme, found.host, found.port, "") == (
        server.scheme,
        server.host,
        server.port,
        server.socket,
    )
    return FileAddress(found, target, names[0].lower(), same and "signature" not in query)


def _server(parts: SplitResult, path: str) -> ServerAddress:
    assert parts.hostname is not None
    return ServerAddress(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme], path)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        valid = _VISIBLE.fullmatch(text) and parts.scheme in PORTS and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("an address begins with http://, https:// or unix:/, as https://files.example")
    if "@" in parts.netloc:
        raise ValueError("an address has no user and no password; put the token into FILESTORED_TOKEN")
    return parts
