"""P41: a proxy in front and the daemon agree on where each request ends; large uploads pass each proxy.

nginx passes requests on, over one connection that it keeps. Odd requests go through it, broken at random
but not so that it minds; behind each, another client asks for a file. Were the two of different minds
about where a request ends, that client would get the response of another one.

An upload of 3 GiB passes nginx, HAProxy and Caddy with the configurations in deploy/. The proxy keeps it
neither in memory nor in files, and the access log has the address of the client.
"""

import itertools
import os
import random
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from hashlib import sha256

from tests.daemon.reverse_proxy import NAME, UPSTREAMS, connector, running_proxy, shipped
from tests.daemon_process import Running, children, memory, read, until
from tests.deep.bench import Bench, NotRunError, Verdict, read_all, upload
from tests.tools import find_tool
from tests.wire_contract.random_requests import change, seeds

COUNT = 5000
PIECE = os.urandom(1 << 20)
PIECES = 3 << 10
"""Pieces of the large upload, of 1 MiB each."""

MAX_PROXY_KIB = 200 * 1024
"""Bound on the memory of a proxy; Caddy needs some 60 MiB without an upload."""

MAX_LOG_BYTES = 1 << 20

CLIENT = "127.0.0.9"
TIMEOUT_SECONDS = 600.0
MARKED = b"the file that the next client asks for"
CONFIGURATION = """
daemon off; worker_processes 1; pid {directory}/pid; error_log {directory}/error.log crit;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  upstream daemon {{ server 127.0.0.1:{port}; keepalive 1; }}
  server {{
    listen unix:{directory}/front;
    location / {{
      proxy_pass http://daemon; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_request_buffering off; proxy_ignore_client_abort on; proxy_next_upstream off;
    }}
  }}
}}
"""


def prove(bench: Bench) -> Verdict:
    """Count clients that got a response to another request, and proxies that fail a large upload."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise NotRunError("needs nginx")
    passed, wrong = _desyncs(bench, nginx)
    tools = [tool for tool in UPSTREAMS if find_tool(tool)]
    failed = [f"{tool}: {reason}" for tool, reason in _large_uploads(bench, tools) if reason]
    figure = f"{COUNT} odd requests, {passed} passed on: {wrong} desyncs; 3 GiB through {', '.join(tools)}"
    return Verdict("; ".join([figure, *failed]), wrong == 0 and passed > 100 and not failed)


def _desyncs(bench: Bench, nginx: str) -> tuple[int, int]:
    """Return how many odd requests nginx has passed on, and how many desyncs there were."""
    log = os.path.join(bench.directory, "access")
    daemon = bench.start("--workers", "1", "--access-log", log, "--host", "daemon")
    digest = upload(daemon, MARKED)
    configuration = os.path.join(bench.directory, "nginx.conf")
    with open(configuration, "w", encoding="utf-8") as file:
        file.write(CONFIGURATION.format(directory=bench.directory, port=daemon.port))
    with subprocess.Popen([nginx, "-c", configuration, "-p", bench.directory]) as proxy:
        try:
            front = os.path.join(bench.directory, "front")
            until(lambda: os.path.exists(front), "nginx listens")
            os.chmod(bench.directory, 0o755)  # its worker runs as another user
            wrong = _compare(front, str(digest))
        finally:
            proxy.terminate()
    daemon.end()
    return read(log).count("\n") - COUNT - 1, wrong


def _large_uploads(bench: Bench, tools: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each proxy with the reason for which its upload failed, empty if it did not."""
    log = os.path.join(bench.directory, "access-of-uploads")
    options = ["--trusted-proxy", "127.0.0.1", "--host", NAME, "--access-log", log, "--drain", "0"]
    daemon = bench.start("--workers", "1", *options, name="uploads")
    digest = sha256()
    for _ in range(PIECES):
        digest.update(PIECE)
    for tool in tools:
        yield tool, _large_upload(bench, daemon, tool, digest.hexdigest())
    daemon.end()
    count = len(re.findall(rf'^{re.escape(CLIENT)} .*"POST ', read(log), re.MULTILINE))
    yield "access log", "" if count == len(tools) else f"{count} uploads with the address of the client"


def _large_upload(bench: Bench, daemon: Running, tool: str, digest: str) -> str:
    directory, before = os.path.join(bench.directory, tool), set(children(os.getpid()))
    text = shipped(tool, f"127.0.0.1:{daemon.port}")
    with running_proxy(tool, text, directory, tcp=True) as address:
        (proxy,) = set(children(os.getpid())) - before
        head = f"POST / HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {PIECES * len(PIECE)}\r\n\r\n"
        delete = f"DELETE /files/{digest} HTTP/1.1\r\nHost: {NAME}\r\n\r\n"
        with connector(address, CLIENT)() as client:
            client.connection.settimeout(TIMEOUT_SECONDS)
            client.send(head.encode())
            for number in range(PIECES):
                client.send(PIECE)
                if number == PIECES // 2:
                    files = _open_bytes(proxy)
            stored = client.read_response("POST")
            deleted = client.request(delete.encode())
        used = memory(proxy, "VmHWM")
    expected = (200, digest.encode(), 200)
    if expected != (stored.status, stored.body, deleted.status):
        return f"{stored.status} {stored.body[:80]!r}, {deleted.status}"
    if used > MAX_PROXY_KIB or files > MAX_LOG_BYTES:
        return f"{used} KiB of memory, {files} bytes of files"
    return ""


def _open_bytes(pid: int) -> int:
    """Return the size of the regular files that a process has open, those without a name included."""
    found = [os.stat(entry.path) for entry in os.scandir(f"/proc/{pid}/fd") if os.path.exists(entry.path)]
    return sum(each.st_size for each in found if stat.S_ISREG(each.st_mode))


def _compare(front: str, digest: str) -> int:
    """Count clients that got a wrong response after an odd request."""
    dice = random.Random(41)
    odd = (change(dice, dice.choice(seeds("0" * 64))) for _ in itertools.count())
    wrong = 0
    request = f"GET /files/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    for data in itertools.islice(odd, COUNT):
        _exchange(front, data)
        answer = _exchange(front, request)
        wrong += not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(MARKED))
    return wrong


def _exchange(front: str, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(front)
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        return read_all(peer)
