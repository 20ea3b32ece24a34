"""Load with requests of all kinds for one daemon: uploads, downloads, deletions, images, and usual refusals.

The daemon runs with `options`, whose access file gives every client all rights and one bucket a small quota.
"""

import hashlib
import itertools
import os
import random
from collections.abc import Callable
from functools import partial

import requests

from tests.http_clients.blocking import connect
from tests.images.image_client import png

ACCESS = """
[buckets.default]
public = ["read", "write", "delete", "list"]
[buckets.full]
public = ["read", "write"]
quota = 10
"""

REASONS = {
    "unauthorized": 401,
    "too_large": 413,
    "quota": 507,
    "digest_mismatch": 422,
    "origin": 421,
    "malformed": 400,
}
"""Statuses of refusals by the reasons of the metrics."""

MAX_SIZE_BYTES = 1 << 20
FILE_BYTES = 16 << 10
TIMEOUT_SECONDS = 60.0


def options(directory: str) -> list[str]:
    """Write the access file, and return the options of a daemon for this load."""
    path = os.path.join(directory, "access.toml")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write(ACCESS)
    return ["--access", path, "--max-size", str(MAX_SIZE_BYTES)]


class MixedLoad:
    """A client of the daemon on this port of loopback; `number` makes its files and its account unique."""

    def __init__(self, port: int, number: int = 0) -> None:
        self.port = port
        self._url = f"http://127.0.0.1:{port}/"
        self._random = random.Random(number)
        self._names = itertools.count()
        self._session = requests.Session()
        self._session.trust_env = False
        self._images = ""
        self._account = f"load{number}"
        self._refusals: dict[str, Callable[[], int]] = {
            "unauthorized": partial(
                self._ask, "GET", "files/", headers={"Authorization": "Bearer fst_wrong"}
            ),
            "too_large": partial(self._ask, "POST", "", data=bytes(MAX_SIZE_BYTES + 1)),
            "quota": partial(self._ask, "POST", "buckets/full/", data=bytes(11)),
            "digest_mismatch": partial(self._ask, "PUT", f"files/{'0' * 64}", data=b"x"),
            "origin": partial(self._ask, "GET", "", headers={"Host": "stranger.example"}),
            "malformed": self._send_malformed,
        }

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def upload(self, size: int = FILE_BYTES) -> str:
        """Upload new content; return its hash."""
        data = self._random.randbytes(size)
        assert 200 == self._ask("POST", "", data=data)
        return hashlib.sha256(data).hexdigest()

    def download(self, name: str) -> None:
        """Download a file as a whole."""
        assert 200 == self._ask("GET", f"files/{name}")

    def exercise_files(self) -> None:
        """Upload, upload again, download, ask for the head, list and delete."""
        data = self._random.randbytes(FILE_BYTES)
        name = hashlib.sha256(data).hexdigest()
        assert [200, 200] == [self._ask("POST", "", data=data) for _ in range(2)]
        assert [200] * 3 == [self._ask("GET", f"files/{name}") for _ in range(3)]
        assert 206 == self._ask("GET", f"files/{name}", headers={"Range": "bytes=0-99"})
        assert 304 == self._ask("GET", f"files/{name}", headers={"If-None-Match": "*"})
        assert 200 == self._ask("HEAD", f"files/{name}")
        assert 200 == self._ask("GET", "files/")
        assert 200 == self._ask("DELETE", f"files/{name}")
        assert 404 == self._ask("GET", f"files/{name}")

    def exercise_images(self) -> None:
        """Upload an image, ask for its thumbnail, and upload what is none."""
        if not self._images:
            answer = self._session.get(f"{self._url}imageapi/generate-token/{self._account}/")
            assert 201 == answer.status_code, answer.text
            self._images = f"imageapi/token/{answer.json()['token']}/"
        name = f"{next(self._names)}.png"
        image = png(8, self._random.randbytes(3))
        assert 201 == self._ask("POST", f"{self._images}upload-image/", files={"x": (name, image)})
        assert 409 == self._ask("POST", f"{self._images}upload-image/", files={"x": (name, image)})
        assert 406 == self._ask("POST", f"{self._images}upload-image/", files={"x": ("x.png", b"text")})

    def refuse(self, reason: str) -> None:
        """Send a request that is refused for one of `REASONS`."""
        assert REASONS[reason] == self._refusals[reason](), reason

    def exercise_refusals(self) -> None:
        """Send a request for each of `REASONS`."""
        for reason in REASONS:
            self.refuse(reason)

    def _send_malformed(self) -> int:
        with connect(self.port) as client:
            return client.request(b"GET / HTTP/1.1\r\n\r\n").status

    def _ask(self, method: str, path: str, **more: object) -> int:
        answer = self._session.request(method, self._url + path, timeout=TIMEOUT_SECONDS, **more)
        return answer.status_code
