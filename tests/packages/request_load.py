"""Load of a daemon by clients that count failures: ``python -m tests.packages.request_load PORT TOKEN``.

In: the first line of standard input ends it. Out: "ready", and when it has ended a JSON object: the requests,
the connections that a client opened again, and the failures.
"""

import http.client
import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from tests.images.decodable_images import png_of

CLIENTS = {"single": 4, "kept": 2, "slow": 2, "images": 1}
"""Threads of each kind of client."""

SLOW_PIECES = 40
SLOW_SECONDS = 0.1
"""Pause before each piece of a slow upload, which so takes 4 s: longer than a restart without requests."""

TIMEOUT_SECONDS = 60.0


class Load:
    """Clients of one daemon on this machine."""

    def __init__(self, port: int, token: str) -> None:
        self.requests = self.reconnected = 0
        self.failed: list[str] = []
        self._port, self._over, self._lock = port, threading.Event(), threading.Lock()
        self._images_path = f"/imageapi/token/{token}"
        kinds: dict[str, Callable[[], None]] = {
            "single": self._single,
            "kept": self._kept,
            "slow": self._slow,
            "images": self._images,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=(kinds[name],))
            for name, count in CLIENTS.items()
            for _ in range(count)
        ]

    def run(self) -> None:
        """Send requests until a line is read."""
        for thread in self._threads:
            thread.start()
        print("ready", flush=True)
        sys.stdin.readline()
        self._over.set()
        for thread in self._threads:
            thread.join()
        result = {"requests": self.requests, "reconnected": self.reconnected, "failed": self.failed}
        print(json.dumps(result), flush=True)

    def _repeat(self, client: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                client()
            except (OSError, http.client.HTTPException, AssertionError) as error:
                with self._lock:
                    self.failed.append(f"{client.__name__}: {error!r} at {time.time():.3f}")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)

    def _exchange(self, connection: http.client.HTTPConnection, method: str, path: str, **more: Any) -> bytes:
        connection.request(method, path, **more)  # type: ignore[arg-type]
        response = connection.getresponse()
        body = response.read()
        assert response.status in (200, 201), (method, path, response.status, body[:200])
        with self._lock:
            self.requests += 1
        return body

    def _single(self) -> None:
        """Upload and download on connections of their own."""
        content = os.urandom(5000)
        digest = self._alone("POST", "/", body=content).decode()
        assert content == self._alone("GET", f"/files/{digest}")

    def _alone(self, method: str, path: str, kind: str = "application/octet-stream", **more: Any) -> bytes:
        connection = self._connect()
        try:
            headers = {"Connection": "close", "Content-Type": kind}
            return self._exchange(connection, method, path, headers=headers, **more)
        finally:
            connection.close()

    def _kept(self) -> None:
        """Download on a kept connection, opened again when it is closed (RFC 9110, section 9.2.2)."""
        content = os.urandom(1000)
        path = f"/files/{self._alone('POST', '/', body=content).decode()}"
        connection = self._connect()
        try:
            for _ in range(200):
                try:
                    body = self._exchange(connection, "GET", path)
                except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
                    connection.close()
                    with self._lock:
                        self.reconnected += 1
                    body = self._exchange(connection, "GET", path)
                assert content == body
        finally:
            connection.close()

    def _images(self) -> None:
        """Upload an image and fetch thumbnails, which decoders make: processes that workers start."""
        fields = f'name="image"; filename="{uuid.uuid4()}.png"'
        head = f"--x\r\nContent-Disposition: form-data; {fields}\r\nContent-Type: image/png\r\n\r\n"
        form = head.encode() + png_of(300, 300) + b"\r\n--x--\r\n"
        kind = "multipart/form-data; boundary=x"
        answer = self._alone("POST", f"{self._images_path}/upload-image/", kind, body=form)
        for width in (50, 100):
            image = f"{self._images_path}/get-image/{json.loads(answer)['File ID']}/?width={width}"
            assert self._alone("GET", image)

    def _slow(self) -> None:
        """Upload a file in pieces, with pauses."""
        content = os.urandom(SLOW_PIECES * 10_000)
        headers = {"Content-Length": str(len(content))}
        digest = self._alone_slowly(content, headers).decode()
        assert content == self._alone("GET", f"/files/{digest}")

    def _alone_slowly(self, content: bytes, headers: dict[str, str]) -> bytes:
        def pieces() -> Iterator[bytes]:
            for start in range(0, len(content), 10_000):
                time.sleep(SLOW_SECONDS)
                yield content[start : start + 10_000]

        connection = self._connect()
        try:
            return self._exchange(connection, "POST", "/", body=pieces(), headers=headers)
        finally:
            connection.close()


if __name__ == "__main__":
    Load(int(sys.argv[1]), sys.argv[2]).run()
