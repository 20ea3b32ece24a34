"""P3, P26, P27: the image of Containerfile as process 1, without privileges, on a read-only root.

The image is built without a registry and run by podman. Its health check is seen healthy, and unhealthy while
the processes are stopped. Workers are killed; no zombie remains. SIGTERM ends it with status 0 while an
upload runs, which is answered; the next container serves the files of the volume.
"""

import os
import shutil
import time
from subprocess import PIPE, Popen

from tests.daemon_process import until
from tests.deep.bench import Bench, NotRunError, Verdict
from tests.packages.containers import Podman

TOOLS = ("mmdebstrap", "podman", "runc")
SERVE = ("--listen", "9000", "--open", "--workers", "2")
ROUNDS = 5

UPLOAD = """
import sys, time, urllib.request
def pieces():
    for _ in range({pieces}):
        time.sleep(0.1)
        yield b"x" * 1000
request = urllib.request.Request("http://127.0.0.1:9000/", data=pieces(), method="POST")
request.add_header("Content-Length", str({pieces} * 1000))
print("begins", flush=True)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""
DOWNLOAD = """
import urllib.request
print(len(urllib.request.urlopen("http://127.0.0.1:9000/files/{digest}", timeout=60).read()))
"""
IMAGE_UPLOAD = r"""
import glob, io, sys, urllib.request
sys.path.insert(0, glob.glob("/opt/filestored/lib/python3*/site-packages")[0])
from PIL import Image
image = io.BytesIO()
Image.new("RGB", (600, 600)).save(image, "PNG")
head = 'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
body = b"--x\r\n" + head.encode() + image.getvalue() + b"\r\n--x--\r\n"
path = "http://127.0.0.1:9000/imageapi/token/{token}/upload-image/"
fields = {{"Content-Type": "multipart/form-data; boundary=x"}}
urllib.request.urlopen(urllib.request.Request(path, body, fields))
"""
PROCESSES = """
import os
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        text = open(f"/proc/{name}/stat").read()
        command = open(f"/proc/{name}/cmdline").read()
    except OSError:
        continue
    print(name, text.rpartition(")")[2].split()[0], "filestored.worker" in command)
"""


def prove(bench: Bench) -> Verdict:
    """Count what is wrong in the life of two containers."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NotRunError(f"needs {', '.join(missing)}")
    if os.geteuid():
        raise NotRunError("needs root")
    podman = Podman(bench.directory)
    try:
        podman.build(bench.directory)
        return _Life(podman).verdict()
    finally:
        podman.end()


class _Life:
    """The steps of the proof, with the containers of one volume."""

    def __init__(self, podman: Podman) -> None:
        self._podman = podman
        self._faults: list[str] = []

    def verdict(self) -> Verdict:
        first = self._serve()
        self._expect("9000", self._run(first, "import os; print(os.stat('/proc/1').st_uid)"), "user")
        digest = self._run(first, UPLOAD.format(pieces=1)).split()[-1]
        self._decode(first)
        for _ in range(ROUNDS):
            self._kill_workers(first)
        until(lambda: not self._zombies(first), "all ended processes are collected")
        self._freeze(first)
        self._stop_during_upload(first)
        second = self._serve()
        size = self._run(second, DOWNLOAD.format(digest=digest))
        self._expect("1000", size, "size of a file after the restart")
        found = "; ".join(self._faults) or "no zombie, no lost file, status 0"
        return Verdict(f"all workers killed {ROUNDS} times: {found}", not self._faults)

    def _expect(self, expected: str, actual: str, what: str) -> None:
        if expected != actual:
            self._faults.append(f"{what}: {actual!r} instead of {expected!r}")

    def _serve(self) -> str:
        container = self._podman.start("files", *SERVE)
        until(lambda: self._is_healthy(container), "the container is healthy")
        return container

    def _is_healthy(self, container: str) -> bool:
        return self._podman.try_run("healthcheck", "run", container).returncode == 0

    def _run(self, container: str, program: str) -> str:
        """Run a program of Python in a container; return what it prints."""
        return self._podman.run("exec", "-i", container, "python3", "-", text=program)

    def _processes(self, container: str) -> list[list[str]]:
        """Return id and state of each process, and "True" for workers."""
        return [line.split() for line in self._run(container, PROCESSES).splitlines()]

    def _zombies(self, container: str) -> list[str]:
        return [pid for pid, state, _ in self._processes(container) if state == "Z"]

    def _workers(self, container: str) -> list[str]:
        return [pid for pid, _, worker in self._processes(container) if worker == "True"]

    def _decode(self, container: str) -> None:
        """Upload an image, so that workers have decoders, which their ends leave to process 1."""
        words = ("filestored", "account", "add", "anna", "--images", "images")
        token = self._podman.run("exec", container, *words)
        self._run(container, IMAGE_UPLOAD.format(token=token.split()[-1]))

    def _kill_workers(self, container: str) -> None:
        old = self._workers(container)
        self._run(container, f"import os\nfor pid in {old}: os.kill(int(pid), 9)")
        until(lambda: not {*old} & {*self._workers(container)}, "the killed workers are replaced")
        until(lambda: self._is_healthy(container), "the container is healthy again")

    def _freeze(self, container: str) -> None:
        """Stop all processes of the daemon; the health check must notice it."""
        pids = ["1", *self._workers(container)]
        for number, healthy in ((19, False), (18, True)):
            self._podman.run("kill", f"--signal={number}", container)
            self._run(container, f"import os\nfor pid in {pids[1:]}: os.kill(int(pid), {number})")
            self._expect(str(healthy), str(self._is_healthy(container)), f"health after signal {number}")

    def _stop_during_upload(self, container: str) -> None:
        words = self._podman.command("exec", "-i", container, "python3", "-")
        with Popen(words, stdin=PIPE, stdout=PIPE, text=True) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(UPLOAD.format(pieces=30))
            client.stdin.close()
            client.stdout.readline()
            time.sleep(1.0)
            self._podman.run("kill", "--signal=TERM", container)
            answer = client.stdout.read().strip()
        self._expect("64", str(len(answer)), "digits of the hash of an upload during the stop")
        self._expect("0", self._podman.run("wait", container), "status")
