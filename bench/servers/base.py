"""A server under test: a process that is started on one core, answers on a port, and is ended by its pid.

`Server` knows how to run one; its subclasses know which program, which addresses, and what that program
does not do. Settings are what the server's own documentation recommends, or its default; no server
writes an access log unless its name says so.
"""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.certificate import Certificate
from bench.cpu_affinity import Cores, on
from bench.files import stored_path
from bench.processes import ProcessTree
from bench.upload_client import Target

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT_SECONDS = 60.0
"""Seconds that a server may take to start, or to end, before it is given up, or killed."""


class Server:
    """A server. `home` is its own directory, `store` the directory of the files that all servers serve."""

    name: str
    omits: ClassVar[str]
    """Sentence about features that it lacks."""
    ours: ClassVar[bool] = False
    tls: ClassVar[bool] = False
    """True if it speaks TLS with its `certificate`, which the caller sets before `start`."""

    def __init__(self, home: str, store: str, cores: Cores, workers: int = 1) -> None:
        self.home = home
        self.store = store
        self.cores = cores
        self.workers = workers
        self.port = 0
        self.started = 0.0
        self.served: Mapping[str, Sequence[str]] = {}
        self.certificate: Certificate
        self._processes: list[subprocess.Popen[bytes]] = []

    # --- defined by each subclass -------------------------------------------------------------------

    def start(self) -> None:
        """Start the server; returns when it answers."""
        raise NotImplementedError

    def version(self) -> str:
        """Return the version of the program."""
        raise NotImplementedError

    def path(self, digest: str) -> str:
        """Return the path of a file of the set."""
        return f"/{stored_path(digest)}"

    def fields(self) -> Mapping[str, str]:
        """Return the header fields of each download besides those of the client."""
        return {}

    def post(self) -> tuple[str, Sequence[str]]:
        """Method and targets of a raw upload; an ``@`` in a target stands for a fresh number."""
        raise NotImplementedError

    def target(self, form: bool, number: int) -> Target | None:
        """Return the target of a large upload; None if unsupported."""
        if form:
            return None
        method, paths = self.post()
        return Target(method, paths[0].replace("@", f"big{number}"))

    # --- common to all ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The URL of its root."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/"

    @property
    def processes(self) -> ProcessTree:
        """The process that serves, and its descendants."""
        return ProcessTree(self._processes[-1].pid)

    def stop(self) -> None:
        """End the server: SIGTERM, then SIGKILL."""
        while self._processes:
            process = self._processes.pop()
            descendants = ProcessTree(process.pid).pids()[1:]
            _end(process)
            for pid in descendants:
                _reap(pid)

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> None:
        """Start a program on the server's cores; its output goes to a file in `home`."""
        os.makedirs(self.home, exist_ok=True)
        with open(os.path.join(self.home, "output"), "ab") as output, on(self.cores.for_server(self.workers)):
            process = subprocess.Popen(
                words,
                cwd=self.home,
                env={**os.environ, "HOME": self.home, "PYTHONPATH": ROOT, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._processes.append(process)

    def await_answer(self, port: int) -> None:
        """Wait until something answers HTTP on a port; raises `RuntimeError` when that takes too long."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._processes[-1].poll() is None:
            try:
                get(port, "/", tls=self.tls)
            except OSError:
                time.sleep(0.005)
            else:
                return
        with open(os.path.join(self.home, "output"), errors="replace") as file:
            raise RuntimeError(f"{self.name} does not answer: {file.read()[-2000:]}")


def get(
    port: int, path: str, method: str = "GET", body: bytes | None = None, *, tls: bool = False
) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body. TLS is 1.3, unverified."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    if tls:
        context = ssl._create_unverified_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    try:
        connection.request(method, path, body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from None
    finally:
        connection.close()


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def program(name: str) -> str | None:
    """The path of a program, beside the Python interpreter or on PATH; None if missing."""
    return shutil.which(
        name, path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}:/usr/sbin"
    )


def first_line(*words: str) -> str:
    """Return the first line that a program prints."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        try:
            process.wait(TIMEOUT_SECONDS / 2)
        except subprocess.TimeoutExpired:
            continue
        return


def _reap(pid: int) -> None:
    """Wait until a descendant has ended; kill it after ten seconds."""
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.01)
    if os.path.exists(f"/proc/{pid}"):
        os.kill(pid, signal.SIGKILL)
