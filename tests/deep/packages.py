"""P27: the Debian package under a real systemd: install, upgrade under load, remove, purge, install again.

The packages of 0.6.0 and of this version are built. A Debian in a directory is booted by systemd-nspawn,
without a network, and installs them. Nine clients send requests during the upgrade, of which none fails.
After the purge a list of all files has nothing new but the data, which a new installation serves again.
"""

import json
import os
import shutil
import subprocess
import sys
import time

from filestored import __version__
from tests.daemon_process import ROOT
from tests.deep.bench import Bench, NotRunError, Verdict
from tests.packages.debian_package import build, check, copy_source, previous_source
from tests.packages.machine import Machine, make_root

PORT = 9000
TOOLS = ("mmdebstrap", "systemd-nspawn", "dpkg-buildpackage", "dh", "lintian")
OVERRIDES = "/etc/systemd/system/filestored.socket.d"
CONTENT = "a file that outlives the package"
ELSEWHERE = (
    *("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp"),
    *("/var/log/journal", "/var/log/apt", "/var/cache"),
)
"""Directories whose files are not those of the package, and which change in any machine."""

OF_OTHER_PROGRAMS = {
    *("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-"),
    *("/var/log/dpkg.log", "/var/lib/apt/lists/auxfiles", "/var/lib/logrotate/status"),
}
"""Paths that adduser, dpkg, apt and logrotate write for any package."""


def prove(bench: Bench) -> Verdict:
    """Count failed requests, wrong states, and files that remain."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NotRunError(f"needs {', '.join(missing)}")
    if os.geteuid():
        raise NotRunError("needs root")
    path = lambda *names: os.path.join(bench.directory, *names)  # noqa: E731
    old = build(previous_source(path("old")), path("packages", "old"))
    new = build(copy_source(path("new")), path("packages", "new"))
    check(new)
    make_root(path("root"))
    for name, package in (("old.deb", old), ("new.deb", new)):
        shutil.move(package, path("root", "root", name))
    with Machine(path("root")) as machine:
        return _Life(machine, bench.seconds).verdict()


class _Life:
    """The steps of the proof in one machine."""

    def __init__(self, machine: Machine, seconds: float) -> None:
        self._machine, self._seconds = machine, seconds
        self._faults: list[str] = []

    def verdict(self) -> Verdict:
        before = self._machine.files(ELSEWHERE)
        self._install("0.6.0", "old")
        digest = self._command("curl", "-sf", "--data-binary", CONTENT, f"http://127.0.0.1:{PORT}/")
        load = self._upgrade()
        self._expect(CONTENT, self._get(digest), "download after the upgrade")
        self._operate()
        self._change_address(digest)
        self._remove(before)
        self._install(__version__, "new")
        self._expect(CONTENT, self._get(digest), "download after the second installation")
        self._purge_without_data()
        figure = (
            f"{load['requests']} requests during an upgrade, {len(load['failed'])} failed, "
            f"{load['reconnected']} kept connections opened again; "
            f"{'; '.join(self._faults) or 'nothing but the data is left'}"
        )
        if load["failed"]:
            figure += f": {load['failed'][:3]}"
        return Verdict(figure, not load["failed"] and not self._faults and load["requests"] > 100)

    def _command(self, *words: str) -> str:
        return self._machine.check(*words).strip()

    def _expect(self, expected: str, actual: str, what: str) -> None:
        if expected != actual:
            self._faults.append(f"{what}: {actual!r} instead of {expected!r}")

    def _get(self, digest: str) -> str:
        return self._command("curl", "-sf", f"http://127.0.0.1:{PORT}/files/{digest}")

    def _install(self, version: str, name: str) -> None:
        self._command("apt-get", "install", "-y", f"/root/{name}.deb")
        for unit in ("filestored.service", "filestored.socket"):
            self._expect("active", self._command("systemctl", "is-active", unit), f"{unit} of {version}")
            self._expect("enabled", self._command("systemctl", "is-enabled", unit), f"{unit} of {version}")
        self._expect(f"filestored {version}", self._command("filestored", "--version"), "version")

    def _upgrade(self) -> dict[str, list[str] | int]:
        """Install the new package while clients send requests; return what they report."""
        words = ("filestored-admin", "account", "add", "load", "--images", "images")
        token = self._command(*words).split()[-1]
        clients = subprocess.Popen(
            [
                *self._machine.namespace_command("-n"),
                sys.executable,
                "-m",
                "tests.packages.request_load",
                str(PORT),
                token,
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert clients.stdout is not None
        clients.stdout.readline()
        time.sleep(self._seconds / 4)
        process = self._command("systemctl", "show", "-P", "MainPID", "filestored.service")
        self._install(__version__, "new")
        if process == self._command("systemctl", "show", "-P", "MainPID", "filestored.service"):
            self._faults.append("the old process still serves after the upgrade")
        time.sleep(self._seconds / 4)
        result, _ = clients.communicate("\n")
        found: dict[str, list[str] | int] = json.loads(result)
        return found

    def _operate(self) -> None:
        """Use what an operator uses: the command, accounts, the rotation of logs, the journal."""
        self._command("filestored-admin", "account", "add", "anna", "--images", "images")
        self._expect(
            "filestored", self._command("stat", "-c", "%U", "/var/lib/filestored/images/KEY"), "owner"
        )
        self._command("logrotate", "--force", "/etc/logrotate.d/filestored")
        log = self._command("journalctl", "--unit=filestored", "--output=cat")
        self._expect("0", str(log.count("Traceback")), "tracebacks in the journal")
        self._expect("0", str(log.count("dropin.cache")), "complaints about the cache of plugins")
        failed = self._command("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        self._expect("", failed, "failed units")

    def _change_address(self, digest: str) -> None:
        """Let systemd open another port, as /etc/default/filestored describes, and the first one again."""
        text = "[Socket]\\nListenStream=\\nListenStream=127.0.0.1:9100\\n"
        self._command("mkdir", OVERRIDES)
        self._command("sh", "-c", f"printf '{text}' >{OVERRIDES}/override.conf")
        self._reopen()
        found = self._command("curl", "-sf", f"http://127.0.0.1:9100/files/{digest}")
        self._expect(CONTENT, found, "download from another port")
        self._command("rm", "-r", OVERRIDES)
        self._reopen()
        self._expect(CONTENT, self._get(digest), "download from the first port")

    def _reopen(self) -> None:
        self._command("systemctl", "daemon-reload")
        for action in ("stop", "start"):
            self._command("systemctl", action, "filestored.socket", "filestored.service")

    def _remove(self, before: set[str]) -> None:
        self._command("apt-get", "remove", "-y", "filestored")
        if not self._machine.run("curl", "-s", f"http://127.0.0.1:{PORT}/").returncode:
            self._faults.append("the port is open after the removal")
        self._command("test", "-e", "/etc/default/filestored")
        self._command("apt-get", "purge", "-y", "filestored")
        left = {path for path in self._machine.files(ELSEWHERE) - before if not _is_expected(path)}
        self._expect("[]", str(sorted(left)), "files after the purge")
        self._command("test", "-d", "/var/lib/filestored/store")

    def _purge_without_data(self) -> None:
        """Without the data the user goes, too."""
        self._command("apt-get", "remove", "-y", "filestored")
        self._command("rm", "-r", "/var/lib/filestored")
        self._command("apt-get", "purge", "-y", "filestored")
        if "filestored" in self._command("cat", "/etc/passwd", "/etc/group"):
            self._faults.append("the user remains without the data")


def _is_expected(path: str) -> bool:
    """Return whether a file may remain: the data, and what other programs keep of any package."""
    data = path == "/var/lib/filestored" or path.startswith("/var/lib/filestored/")
    return data or path in OF_OTHER_PROGRAMS
