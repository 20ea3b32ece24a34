"""P41: a proxy in front and the daemon agree on where each request ends.

nginx passes requests on, over one connection that it keeps. Odd requests go through it, broken at random
but not so that it minds; behind each, another client asks for a file. Were the two of different minds
about where a request ends, that client would get the response of another one.
"""

import itertools
import os
import random
import shutil
import socket
import subprocess

from tests.daemon.running import read, until
from tests.deep.bench import Bench, NotRunError, Verdict, read_all, upload
from tests.wire_contract.random_requests import change, seeds

COUNT = 5000
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
    """Count clients that got a response to another request."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise NotRunError("needs nginx")
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
    passed = read(log).count("\n") - COUNT - 1
    return Verdict(f"{COUNT} odd requests, {passed} passed on: {wrong} desyncs", wrong == 0 and passed > 100)


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
