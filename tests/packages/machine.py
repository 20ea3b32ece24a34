"""A Debian machine in a directory: made by mmdebstrap, booted with systemd by systemd-nspawn. Needs root."""

import os
import signal
import subprocess
from collections.abc import Sequence
from types import TracebackType

from tests.daemon_process import children, until

PACKAGES = "systemd,systemd-sysv,dbus,adduser,logrotate,python3,libstdc++6,zlib1g,curl"
"""Packages of the machine besides the minimum, so that it installs filestored without a network."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NSPAWN = (
    *("systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--quiet"),
    *("--console=read-only", "--boot"),
)
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")
"""Options of nsenter: all namespaces of the machine, its root directory and its working directory."""

STOP_SECONDS = 60.0


def make_root(directory: str, release: str = "bookworm") -> None:
    """Install a minimal Debian into a directory, from the mirror that this machine uses."""
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", release, directory]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr[-3000:]
    os.remove(os.path.join(directory, "etc", "machine-id"))


class Machine:
    """A booted machine without a network but its loopback interface; `with` ends it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._log = open(os.path.join(os.path.dirname(root), "console"), "ab")  # noqa: SIM115
        self._nspawn = subprocess.Popen(
            [*NSPAWN, "-D", root],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def __enter__(self) -> "Machine":
        until(lambda: bool(children(self._nspawn.pid)), "the machine is started")
        until(lambda: self.run("systemctl", "is-system-running").stdout == "running\n", "booted")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._log.close()

    def namespace_command(self, *namespaces: str) -> list[str]:
        """Return the start of a command that runs in namespaces of the machine; by default in all of them."""
        (leader,) = children(self._nspawn.pid)
        return [
            "nsenter",
            "-t",
            str(leader),
            *(namespaces or ("-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w")),
        ]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in the machine."""
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        command = [*self.namespace_command(), *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def check(self, *words: str) -> str:
        """Run a command in the machine that succeeds; return what it prints."""
        done = self.run(*words)
        assert 0 == done.returncode, (words, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def files(self, ignored: Sequence[str]) -> set[str]:
        """Return the paths of all files and directories, without those below the `ignored` ones."""
        prunes = [word for path in ignored for word in ("-path", path, "-prune", "-o")]
        return set(self.check("find", "/", "-xdev", *prunes, "-print").splitlines())
