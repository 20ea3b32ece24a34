"""Load of images for daemons on one bucket: each request at a random daemon, with all that went wrong.

Some images are shared: any client replaces them at any time, so any version that was sent may be served, but
one of them always. Other clients make accounts and images under names that only they ask for, replace some
and delete some, and use the names again. A response that is neither right nor 503 is wrong.
"""

import itertools
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence

import requests

from tests.images.image_client import png

SHARED_IMAGES = 3
NAME = "x.png"
TIMEOUT_SECONDS = 60.0


class ImageLoad:
    """Clients at the daemons with these `urls` from now until `end`; the shared images are made before."""

    def __init__(self, urls: Sequence[str], clients: int) -> None:
        self.wrong: list[str] = []
        self.answers: Counter[str] = Counter()
        self.urls = urls
        self.numbers = itertools.count(1)
        self._over = threading.Event()
        self.possible: defaultdict[str, set[bytes]] = defaultdict(set)  # versions by the path of an image
        client = _Client(self, 0)
        tokens = [client.make_account() for _ in range(SHARED_IMAGES)]
        self.shared = [path for token in tokens if token and (path := client.upload(token))]
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(1, clients + 1)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Stop all clients after their request."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def damage(self) -> list[str]:
        """Return what the daemons, which have to be healthy, serve instead of the right images."""
        client = _Client(self, 0)
        paths = list(self.possible)
        found = [(path, client.request("GET", path, url=url)) for url in self.urls for path in paths]
        return [
            f"{answer.status_code} {answer.content[:60]!r}"
            for path, answer in found
            if answer.content not in self.possible[path]
        ]

    def _run(self, number: int) -> None:
        client = _Client(self, number)
        while not self._over.is_set():
            if number % 3:
                client.use_shared()
            else:
                client.use_own()


class _Client:
    """One client."""

    def __init__(self, load: ImageLoad, number: int) -> None:
        self._load = load
        self._dice = random.Random(number)
        self._session = requests.Session()

    def use_shared(self) -> None:
        """Read or replace a shared image."""
        path = self._dice.choice(self._load.shared)
        if self._dice.random() < 0.5:
            self._replace(path, shared=True)
            return
        answer = self.request("GET", path)
        if self._is(answer, 200, "GET") and answer.content not in self._load.possible[path]:
            self._load.wrong.append("an image has other bytes")

    def use_own(self) -> None:
        """Make an account with an image; replace it, or delete it and use its name again."""
        token = self.make_account()
        path = token and self.upload(token)
        if not token or not path:
            return
        if self._dice.random() < 0.5:
            self._replace(path)
            return
        del self._load.possible[path]
        answer = self.request("DELETE", path.replace("get-image", "delete-image"))
        if self._is(answer, 200, "DELETE"):
            self.upload(token)

    def make_account(self) -> str | None:
        """Return the token of a new account, if it was acknowledged."""
        answer = self.request("GET", f"generate-token/user_{next(self._load.numbers)}/")
        return answer.json()["token"] if self._is(answer, 201, "account") else None

    def upload(self, token: str) -> str | None:
        """Return the path of a new image, if it was acknowledged."""
        data = self._picture()
        answer = self.request("POST", f"token/{token}/upload-image/", files={"x": (NAME, data)})
        if not self._is(answer, 201, "POST"):
            return None
        path = f"token/{token}/get-image/{answer.json()['File ID']}/"
        self._load.possible[path] = {data}
        return path

    def request(self, method: str, path: str, url: str = "", **more: object) -> requests.Response:
        """Send a request to one of the daemons."""
        root = url or self._dice.choice(self._load.urls)
        return self._session.request(method, f"{root}imageapi/{path}", timeout=TIMEOUT_SECONDS, **more)  # type: ignore[arg-type]

    def _replace(self, path: str, shared: bool = False) -> None:
        data = self._picture()
        self._load.possible[path].add(data)
        answer = self.request("PATCH", path.replace("get-", "update-"), files={"x": (NAME, data)})
        if self._is(answer, 200, "PATCH") and not shared:
            self._load.possible[path] = {data}

    def _picture(self) -> bytes:
        """Return an image that is like no other."""
        return png(1, next(self._load.numbers).to_bytes(3, "big"))

    def _is(self, answer: requests.Response, status: int, kind: str) -> bool:
        """Return whether the request succeeded; record a response that is neither that nor 503."""
        self._load.answers[kind if answer.status_code == status else f"{kind} {answer.status_code}"] += 1
        if answer.status_code not in {status, 503}:
            self._load.wrong.append(f"{kind} is answered {answer.status_code} {answer.text[:80]}")
        return answer.status_code == status
