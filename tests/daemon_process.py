"""A real twistd, started as an operator starts it, for tests.

`start` runs ``twistd`` on a port that the kernel picks, with its store, log and pidfile in a
directory of the test. When it returns, the daemon has said that it is ready, over the very
socket that systemd would offer: so nothing here guesses at ports, or waits for a fixed time.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.token_leaks import arguments_of, leaks

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TWISTD = os.path.join(os.path.dirname(sys.executable), "twistd")
TIMEOUT = 30.0
"""Seconds that a daemon may take for what a test waits for, on a busy machine."""


@dataclass
class Running:
    """A daemon that runs: where it listens, and where it keeps things."""

    directory: str
    pid: int
    process: "subprocess.Popen[bytes]"
    address: str
    port: int
    statuses: list[str] = field(default_factory=list)
    tokens: Callable[[], list[bytes]] = list
    """Reads the tokens of its accounts, which it may not have logged, where they are not in its directory."""

    @property
    def url(self) -> str:
        """The root of its URLs, with the slash."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def store(self) -> str:
        """The directory of its store."""
        return os.path.join(self.directory, "store")

    @property
    def log(self) -> str:
        """All that it has logged so far."""
        return read(os.path.join(self.directory, "log")) + read(os.path.join(self.directory, "stderr"))

    def workers(self) -> list[int]:
        """The process ids of its children."""
        return children(self.pid)

    def connect(self) -> socket.socket:
        """A new connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)

    def refuses(self) -> bool:
        """Return True once it accepts no connection."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            return False  # it stood in the queue that was just then closed
        return False

    @contextmanager
    def notifications(self) -> Iterator[socket.socket]:
        """The socket that it tells systemd things on, from now on."""
        path = os.path.join(self.directory, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(path)
            receiver.settimeout(TIMEOUT)
            try:
                yield receiver
            finally:
                os.unlink(path)

    def kill(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def ended(self) -> bool:
        """True after it has ended."""
        if self.process.pid == self.pid:
            return self.process.poll() is not None
        return not os.path.exists(f"/proc/{self.pid}")

    def end(self) -> None:
        """End it with its workers, if it runs: SIGTERM, then SIGKILL."""
        mine = self.workers()
        arguments = arguments_of([self.pid, *mine])
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if not self.ended():
                self.kill(number)
                _until(self.ended, 10.0)
        for pid in mine:
            _until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"), 10.0)
        self.process.wait()
        assert [] == leaks(self.directory, self.tokens(), arguments)


def start(
    directory: str,
    started: list[Running],
    *options: str,
    listen: str = "tcp:0:interface=127.0.0.1",
    twistd: tuple[str, ...] = ("-n",),
    tac: bool = False,
    serve: bool = False,
    environment: Mapping[str, str] | None = None,
    wrap: tuple[str, ...] = (),
    log: bool = True,
    inherit: tuple[int, ...] = (),
    hosts: tuple[str, ...] = ("x", "h"),
    before_exec: Callable[[], object] | None = None,
    new_session: bool = False,
    pid_file: bool = True,
) -> Running:
    """Start a daemon with these options of filestored, and wait until it is ready.

    `twistd` are options of twistd itself, `tac` takes the door through ``filestored.tac``, and `serve` that
    through ``filestored serve``, which passes no options to twistd. `wrap` is a command that runs it, with
    the descriptors `inherit`. Without `pid_file` it writes none. `hosts` are the names of ``--host``; the
    default ones are those of raw requests in tests. `before_exec` runs in the new process; with `new_session`
    that leads a process group of its own. A daemon that ends instead of becoming ready is an `AssertionError`
    with what it wrote.
    """
    os.makedirs(directory, exist_ok=True)
    words = [
        *(["--listen", listen] if listen else []),
        *("--store", os.path.join(directory, "store")),
        *(["--log", os.path.join(directory, "log")] if log else []),
        *(word for name in hosts for word in ("--host", name)),
        *options,
    ]
    door = ["-y", os.path.join(ROOT, "filestored.tac")] if tac else ["filestored", *words]
    pid_words = ["--pidfile", os.path.join(directory, "pid")] if pid_file else []
    program = ["-m", "filestored", "serve", *words] if serve else [TWISTD, *twistd, *pid_words, *door]
    notifications = os.path.join(directory, "notify")
    changes = {"PYTHONPATH": ROOT, "NOTIFY_SOCKET": notifications, "FILESTORED_OPTIONS": shlex.join(words)}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        open(os.path.join(directory, "stderr"), "ab") as errors,
    ):
        receiver.bind(notifications)
        try:
            process = subprocess.Popen(
                [*wrap, sys.executable, *program],
                cwd=directory,
                env={**os.environ, **changes, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=inherit,
                preexec_fn=before_exec,
                start_new_session=new_session,
            )
            running = _ready(directory, receiver, process)
        finally:
            os.unlink(notifications)
    started.append(running)
    return running


def run(
    *args: str,
    cwd: str,
    timeout: float = TIMEOUT,
    wrap: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    inherit: tuple[int, ...] = (),
) -> "subprocess.CompletedProcess[str]":
    """Run twistd to its end, with the sources of this checkout; `wrap` is a command that runs it.

    It gets the descriptors `inherit`.
    """
    return subprocess.run(
        [*wrap, sys.executable, TWISTD, *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, **(environment or {})},
        pass_fds=inherit,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", pattern: str) -> None:
    """Check that a daemon has refused its configuration: one line on stderr, status 1."""
    assert 1 == done.returncode, done.stderr
    assert "" == done.stdout
    assert 1 == done.stderr.count("\n"), done.stderr
    assert done.stderr.startswith("filestored: ")
    assert re.search(pattern, done.stderr), done.stderr


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    assert _until(condition, TIMEOUT), f"still not so after {TIMEOUT:g} s: {what}"


def read(path: str) -> str:
    """The text of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def children(pid: int) -> list[int]:
    """The process ids of the children of a process."""
    return [int(number) for number in read(f"/proc/{pid}/task/{pid}/children").split()]


def memory(pid: int, what: str = "VmRSS") -> int:
    """KiB of memory that a process has now, or ever had at once (``VmHWM``), see proc_pid_status(5)."""
    (line,) = (line for line in read(f"/proc/{pid}/status").splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1])


def _until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _ready(directory: str, receiver: socket.socket, process: "subprocess.Popen[bytes]") -> Running:
    """Read notifications until the one that says READY; its status names the address."""
    receiver.settimeout(0.1)
    deadline = time.monotonic() + TIMEOUT
    statuses: list[str] = []
    while time.monotonic() < deadline:
        try:
            message = receiver.recv(4096).decode()
        except TimeoutError:
            output = read(os.path.join(directory, "stderr")) + read(os.path.join(directory, "log"))
            assert process.poll() in (None, 0), f"ended with {process.poll()}: {output}"
            continue
        statuses.append(message)
        if "READY=1" in message:
            return _described(directory, process, message, statuses)
    process.kill()
    process.wait()
    raise AssertionError(f"not ready: {statuses} {read(os.path.join(directory, 'stderr'))}")


def _described(
    directory: str, process: "subprocess.Popen[bytes]", message: str, statuses: list[str]
) -> Running:
    pid = int(read(os.path.join(directory, "pid")) or process.pid)
    address = re.search(r"STATUS=listening on (.*)", message)
    assert address, message
    port = re.search(r":(\d+)$", address[1].split(",")[0])
    return Running(directory, pid, process, address[1], int(port[1]) if port else 0, statuses)
