"""Containers of filestored: the image of ``Containerfile``, built on a Debian of mmdebstrap, in podman.

No registry is needed, only the mirrors of Debian and PyPI that this machine uses. Needs root.
"""

import os
import subprocess

from tests.daemon_process import ROOT

IMAGE = "localhost/filestored"
BASE = "localhost/filestored-base"
PACKAGES = "python3,python3-venv,ca-certificates"
CERTIFICATES = "/etc/ssl/certs"
LIMITS = ("--ulimit=nofile=16384:16384", "--ulimit=nproc=4096:4096")
RESTRICTIONS = (
    *("--read-only", "--read-only-tmpfs=false", "--network=none"),
    *("--cap-drop=all", "--security-opt=no-new-privileges"),
)


class Podman:
    """Podman with images and containers in a directory."""

    def __init__(self, directory: str) -> None:
        self._root = os.path.join(directory, "root")
        self._command = (
            *("podman", f"--root={self._root}", f"--runroot={os.path.join(directory, 'run')}"),
            *("--cgroup-manager=cgroupfs", "--runtime=runc"),
        )

    def command(self, *words: str) -> list[str]:
        """Return the words of a command."""
        return [*self._command, *words]

    def try_run(self, *words: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command of podman."""
        return subprocess.run(
            self.command(*words), cwd=ROOT, input=text, capture_output=True, text=True, check=False
        )

    def run(self, *words: str, text: str = "") -> str:
        """Run a command of podman that succeeds; return what it prints."""
        done = self.try_run(*words, text=text)
        assert 0 == done.returncode, (words, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout.strip()

    def build(self, directory: str) -> None:
        """Build the image of this source."""
        base = os.path.join(directory, "base.tar")
        words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", base]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, done.stderr[-3000:]
        self.run("import", base, BASE)
        pip = [f"--env={name}={value}" for name, value in os.environ.items() if name == "PIP_CERT"]
        self.run(
            *("build", "--isolation=chroot", "--network=host", "--format=docker", f"--build-arg=BASE={BASE}"),
            *(*pip, f"--volume={CERTIFICATES}:{CERTIFICATES}:ro", "--ulimit=nofile=4096:4096"),
            *(f"--tag={IMAGE}", "."),
        )

    def start(self, volume: str, *options: str) -> str:
        """Start a container as restricted as a platform can; return its id."""
        words = (*RESTRICTIONS, *LIMITS, f"--volume={volume}:/var/lib/filestored")
        return self.run("run", "--detach", *words, IMAGE, *options)

    def end(self) -> None:
        """Remove all containers, and what is mounted in the directory."""
        self.try_run("rm", "--all", "--force")
        subprocess.run(["umount", "--quiet", os.path.join(self._root, "overlay")], check=False)
