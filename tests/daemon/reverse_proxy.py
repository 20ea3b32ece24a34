"""Reverse proxies as processes of their own: nginx and HAProxy on a Unix socket, Caddy on a port of loopback.

Caddy closes connections of Unix sockets at once after a refusal, those of TCP after half a second.
"""

import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.daemon_process import ROOT, read, until
from tests.http_clients.blocking import BlockingClient
from tests.http_clients.response import Response
from tests.tools import find_tool

NAME = "files.example.org"
"""Name of the server in the configurations of deploy/."""

FILES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}
UPSTREAMS = {
    "nginx": "server 127.0.0.1:9000;",
    "haproxy": "server daemon 127.0.0.1:9000",
    "caddy": "reverse_proxy 127.0.0.1:9000 {",
}
"""The line of each configuration that names the daemon."""

LOGS = {
    "nginx": ("/var/log/nginx/access.log", "{directory}/access"),
    "haproxy": ("log /dev/log local0", "log stdout format raw local0"),
    "caddy": ("", ""),
}
"""The place of the log in each configuration, and another one in the directory of the proxy."""

LOG_FILES = ("access", "errors", "output")

UNIX_PREFIXES = {"nginx": "unix:", "haproxy": "unix@", "caddy": "unix/"}

MAIN = """
daemon off; master_process off; worker_processes 1; pid {directory}/pid; error_log {directory}/errors;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxied;
  fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  {site}
}}
"""
"""The configuration around a server of nginx, which is not that of the machine."""

BARE_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend public
    bind :80
    default_backend filestored
backend filestored
    server daemon {server}
"""
"""A configuration of HAProxy that adds no field to requests."""

Connect = Callable[[], BlockingClient]


def shipped(tool: str, upstream: str) -> str:
    """Return the configuration in deploy/, with this address of the daemon."""
    line = UPSTREAMS[tool]
    configuration = read(os.path.join(ROOT, "deploy", FILES[tool]))
    assert line in configuration
    return configuration.replace(line, line.replace("127.0.0.1:9000", upstream))


@contextmanager
def running_proxy(tool: str, configuration: str, directory: str, tcp: bool = False) -> Iterator[str]:
    """Run a proxy whose configuration says port 80; return the path or port that it listens on instead.

    With `tcp` nginx and HAProxy listen on a port, too. All logs are in `directory`, see `read_logs`.
    """
    os.makedirs(directory)
    conf = os.path.join(directory, "conf")
    address = _free_port() if tcp or tool == "caddy" else os.path.join(directory, "socket")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(_listening_on(address, tool, configuration, directory))
    words = {
        "nginx": ["-c", conf, "-p", directory],
        "haproxy": ["-db", "-f", conf],
        "caddy": ["run", "--config", conf, "--adapter", "caddyfile"],
    }[tool]
    environment = {**os.environ, "HOME": directory, "XDG_DATA_HOME": directory, "XDG_CONFIG_HOME": directory}
    with open(os.path.join(directory, "output"), "wb") as output:
        process = subprocess.Popen([find_tool(tool), *words], stdout=output, stderr=output, env=environment)
    try:
        until(lambda: _accepts(address) or process.poll() is not None, "the proxy listens")
        assert process.poll() is None, read(os.path.join(directory, "output"))
        yield address
    finally:
        process.terminate()
        process.wait()


def read_logs(directory: str) -> str:
    """Return all that the proxy in a directory has logged so far."""
    return "".join(read(os.path.join(directory, name)) for name in LOG_FILES)


def _free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


def _listening_on(address: str, tool: str, configuration: str, directory: str) -> str:
    """Return the configuration with this address in the place of port 80, and a log in `directory`."""
    place, here = LOGS[tool]
    configuration = configuration.replace(place, here.format(directory=directory))
    is_port = address.isdigit()
    if tool == "nginx":
        listen = f"listen 127.0.0.1:{address};" if is_port else f"listen unix:{address};"
        return MAIN.format(directory=directory, site=configuration.replace("listen 80;", listen))
    if tool == "haproxy":
        bind = f"bind 127.0.0.1:{address}" if is_port else f"bind unix@{address}"
        return configuration.replace("bind :80", bind)
    site = configuration.replace("admin off\n", f"admin off\n\thttp_port {address}\n")
    return re.sub(r"^http://.*{$", r"\g<0>\n\tbind 127.0.0.1", site, flags=re.MULTILINE)


def _accepts(address: str) -> bool:
    """Return whether a connection to the address succeeds, except one of a socket to itself."""
    try:
        with connector(address)() as client:
            return client.connection.getsockname() != client.connection.getpeername()
    except OSError:
        return False


def connector(address: str, source: str | None = None) -> Connect:
    """Return a function that connects to a port of loopback, from an address there, or to a Unix socket."""
    is_port = address.isdigit()

    def connect() -> BlockingClient:
        connection = socket.socket(socket.AF_INET if is_port else socket.AF_UNIX)
        try:
            if source is not None:
                connection.bind((source, 0))
            connection.connect(("127.0.0.1", int(address)) if is_port else address)
        except OSError:
            connection.close()
            raise
        return BlockingClient(connection)

    return connect


def curl_options(address: str) -> str:
    """Return the options by which curl connects to this address for every URL."""
    return f"--connect-to ::127.0.0.1:{address}" if address.isdigit() else f"--unix-socket {address}"


def ask(
    connect: Connect, target: str, host: str, *fields: str, method: str = "GET", body: bytes = b""
) -> Response:
    """Send a request with all of its body, and then read the response."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, f"Content-Length: {len(body)}", "", ""]
    with connect() as client:
        return client.request("\r\n".join(lines).encode() + body)
