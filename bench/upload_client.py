"""A large upload from a blocking socket, because wrk would keep the whole body in Lua.

The body is one block of random bytes over and over, its first bytes a number that no upload before
had. As a form it is the single part of ``multipart/form-data``, after such fields as a server asks for.
"""

import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

BLOCK = os.urandom(2**20)
"""Repeated chunk of bodies: 1 MiB."""

BOUNDARY = "----filestored-bench-7f3a"

TIMEOUT = 120.0
"""Seconds without a byte after which an upload has failed."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Target:
    """Target of an upload: request line, and form fields before the file, if any."""

    method: str
    path: str
    form: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


def upload(port: int, target: Target, size: int, timeout: float = TIMEOUT) -> int:
    """Send one file of so many bytes, a multiple of 1 MiB; returns the status of the answer."""
    first = (b"%032d" % next(_numbers) + os.urandom(32) + BLOCK)[: len(BLOCK)]
    before, after = _envelope(target)
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(_head(target, size + len(before) + len(after)) + before)
        for block in itertools.chain([first], itertools.repeat(BLOCK, size // len(BLOCK) - 1)):
            connection.sendall(block)
        connection.sendall(after)
        return _status(connection)


def _envelope(target: Target) -> tuple[bytes, bytes]:
    if not target.form:
        return b"", b""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in target.fields.items()
    ]
    name = f"big-{next(_numbers)}.bin"
    parts.append(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode(), f"\r\n--{BOUNDARY}--\r\n".encode()


def _head(target: Target, length: int) -> bytes:
    kind = f"multipart/form-data; boundary={BOUNDARY}" if target.form else "application/octet-stream"
    return (
        f"{target.method} {target.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()


def _status(connection: socket.socket) -> int:
    answer = connection.makefile("rb").readline().split()
    return int(answer[1]) if len(answer) > 1 else 0
