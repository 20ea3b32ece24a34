"""Load whose responses are counted by its clients, to be compared with the metrics of the daemon."""

import os
import threading
from collections import Counter
from collections.abc import Callable

from tests.daemon_process import Running
from tests.http_clients.blocking import BlockingClient, connect, request_head
from tests.monitoring_client import Values, decreased, scrape

MISSING = "0" * 64


class CountedLoad:
    """Clients on kept-alive connections, from now until `end`.

    `answered` counts responses by method and class of the status, `cut` the requests without a response by
    method. Each request is made by `requests`, in turns.
    """

    def __init__(self, daemon: Running, clients: int) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        self.cut: Counter[str] = Counter()
        self.created = 0
        self._daemon = daemon
        self._over = threading.Event()
        self._lock = threading.Lock()
        with connect(daemon.port) as client:
            self._stored = self._count("POST", lambda: client.request(_post(b"stored"))).body.decode()
            self.created += 1
        self._threads = [threading.Thread(target=self._work) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Let each client finish its request."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        client: BlockingClient | None = None
        turn = 0
        while not self._over.is_set():
            turn += 1
            try:
                client = client or connect(self._daemon.port)
            except OSError:
                continue
            method, request = self._next(turn)
            try:
                response = self._count(method, lambda: client.request(request))  # noqa: B023
            except (OSError, EOFError):
                with self._lock:
                    self.cut[method] += 1
                client.connection.close()
                client = None
            else:
                with self._lock:
                    self.created += turn % 4 == 0 and response.status == 200
        if client is not None:
            client.connection.close()

    def _next(self, turn: int) -> tuple[str, bytes]:
        if turn % 4 == 0:
            return "POST", _post(os.urandom(100))
        if turn % 8 == 1:
            return "GET", request_head(f"/files/{MISSING}")
        if turn % 8 == 3:
            return "HEAD", request_head(f"/files/{self._stored}", method="HEAD")
        return "GET", request_head(f"/files/{self._stored}")

    def _count(self, method: str, send: Callable[[], object]) -> object:
        response = send()
        with self._lock:
            self.answered[method, f"{response.status // 100}xx"] += 1
        return response

    def differences(self, values: Values) -> list[str]:
        """Return the figures of the daemon that differ from those of the clients, by more than was cut."""
        found = []
        for (method, status), expected in self.answered.items():
            counted = values["requests_total", method, status]
            if abs(counted - expected) > self.cut[method]:
                found.append(f"{method} {status}: {counted:g}, and {expected} (cut: {self.cut[method]})")
        created = values["uploads_total", "created"]
        if abs(created - self.created) > self.cut["POST"]:
            found.append(f"created: {created:g}, and {self.created} (cut: {self.cut['POST']})")
        return found


class RepeatedScrapes:
    """Scrapes from now until `end`; `decreased` are the counters that went back, `values` the last ones."""

    def __init__(self, port: int) -> None:
        self.decreased: list[tuple[str, ...]] = []
        self.count = 0
        self._port = port
        self.values = scrape(port)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._over.wait(0.05):
            self._scrape()

    def _scrape(self) -> None:
        values = scrape(self._port)
        self.decreased += decreased(self.values, values)
        self.values = values
        self.count += 1

    def end(self) -> None:
        """End with one more scrape."""
        self._over.set()
        self._thread.join()
        self._scrape()


def _post(content: bytes) -> bytes:
    return request_head("/", f"Content-Length: {len(content)}", method="POST") + content
