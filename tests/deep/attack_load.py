"""The load of `attacks`: ``python -m tests.deep.attack_load PORT SECONDS TOKEN TOKEN GZIPPED LARGE``.

All attacks run in one process, as coroutines that sleep between their requests, from an address of their own.
Printed in the end, as JSON: the requests of each attack, and the seconds of CPU that they took here.
"""

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

SLOW_BODIES = 200
LISTS = 16
THUMBNAILS = 70
FORMS = 2
RANGES = 8
"""Connections of each attack at once. One more sends chunks of one byte."""

SLOW_BYTES = 1100
"""Bytes a second of each slow body: a little more than a body has to bring."""

CHUNK_BYTES_PER_SECOND = 1_500_000
"""Bytes on the wire a second of the body in chunks of one byte."""

ADDRESS = "127.0.0.2"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Load:
    """All attacks on one port, and how many requests each has made."""

    def __init__(self, port: int, tokens: tuple[str, str], gzipped: str, large: str) -> None:
        self.counts: Counter[str] = Counter()
        self._port = port
        many, owner = (f"/imageapi/token/{token}" for token in tokens)
        self._list = f"{many}/get-image-list/"
        self._gzipped = f"{owner}/get-image/{gzipped}/"
        self._large = f"{owner}/get-image/{large}/"

    async def run(self, seconds: float) -> None:
        """Run all attacks for so long."""
        attacks: list[tuple[int, Callable[[], Coroutine[Any, Any, None]], float]] = [
            (SLOW_BODIES, self._slow_body, 0.1),
            (LISTS, self._ask_for_list, 0.1),
            (THUMBNAILS, self._ask_for_thumbnail, 3.0),
            (FORMS, self._send_form, 0.2),
            (RANGES, self._ask_for_range, 0.3),
            (1, self._send_chunks, 0.1),
        ]
        tasks = [
            asyncio.create_task(self._repeat(attack, pause))
            for count, attack, pause in attacks
            for _ in range(count)
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, attack: Callable[[], Coroutine[Any, Any, None]], pause: float) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await attack()
            await asyncio.sleep(pause)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Streams]:
        """A connection, reset in the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(ADDRESS, 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def _head(self, method: str, path: str, *lines: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()

    async def _slow_body(self) -> None:
        async with self._connected() as (reader, writer):
            self.counts["slow bodies"] += 1
            writer.write(self._head("POST", "/", "Content-Length: 1000000000"))
            while not reader.at_eof() and not writer.is_closing():
                writer.write(b"s" * SLOW_BYTES)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await reader.read(65536)

    async def _ask_for_list(self) -> None:
        async with self._connected() as (reader, writer):
            writer.write(self._head("GET", self._list, "Connection: close"))
            async with asyncio.timeout(30):
                await reader.read(-1)
            self.counts["lists"] += 1

    async def _ask_for_thumbnail(self) -> None:
        """Request a new thumbnail size, and disconnect."""
        self.counts["thumbnails"] += 1
        async with self._connected() as (_, writer):
            query = f"?width={1 + self.counts['thumbnails'] % 2048}&height=2000"
            writer.write(self._head("GET", self._large + query))
            await asyncio.sleep(0.3)

    async def _ask_for_range(self) -> None:
        """Ask for the last bytes, and hang up."""
        self.counts["ranges"] += 1
        async with self._connected() as (_, writer):
            writer.write(self._head("GET", self._gzipped, "Range: bytes=-10", "Accept-Encoding: identity"))
            await asyncio.sleep(0.05)

    async def _send_form(self) -> None:
        part = b'--B\r\nContent-Disposition: form-data; name=a; x="' + b'\\"' * 3900 + b"\r\n\r\n\r\n"
        body = part * 16 + b"--B--\r\n"
        async with self._connected() as (reader, writer):
            self.counts["forms"] += 1
            fields = ("Content-Type: multipart/form-data; boundary=B", f"Content-Length: {len(body)}")
            writer.write(self._head("POST", "/", *fields, "Connection: close") + body)
            async with asyncio.timeout(30):
                await reader.read(-1)

    async def _send_chunks(self) -> None:
        piece = b"1\r\nc\r\n" * 10_000
        async with self._connected() as (reader, writer):
            self.counts["bodies in chunks of one byte"] += 1
            writer.write(self._head("POST", "/", "Transfer-Encoding: chunked"))
            ends = time.monotonic() + 3.0
            while time.monotonic() < ends:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(len(piece) / CHUNK_BYTES_PER_SECOND)
            writer.write(b"0\r\n\r\n")
            async with asyncio.timeout(30):
                await reader.readline()


def main() -> None:
    """Run the load that the command line describes."""
    port, seconds, many, owner, gzipped, large = sys.argv[1:]
    load = Load(int(port), (many, owner), gzipped, large)
    asyncio.run(load.run(float(seconds)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"counts": load.counts, "cpu": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main()
