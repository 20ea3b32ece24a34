"""nginx: the yardstick for sending files; its DAV module takes them by PUT."""

import os
from typing import ClassVar

from bench.servers.base import Server, first_line, free_port, program

_CONFIGURATION = """\
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
worker_processes {workers};
worker_rlimit_nofile 20000;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout 120s;
    client_max_body_size 0;
    client_body_temp_path {home}/temporary;
    proxy_temp_path {home}/unused1; fastcgi_temp_path {home}/unused2;
    uwsgi_temp_path {home}/unused3; scgi_temp_path {home}/unused4;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=4096{listen};
        root {store};
        location /up/ {{ root {home}; dav_methods PUT; }}
    }}
}}
"""


class Nginx(Server):
    """One worker process for each core it is given; sendfile; Debian's build."""

    name: str = "nginx"
    omits: ClassVar[str] = (
        "PUT neither hashes nor flushes: it renames a temporary file. The client chooses the name; no forms."
    )

    def start(self) -> None:
        """Write its configuration and run it in the foreground; as root its workers stay root."""
        self.port = free_port()
        os.makedirs(os.path.join(self.home, "up"), exist_ok=True)
        places = {"home": self.home, "store": self.store, "listen": self.listen()}
        text = _CONFIGURATION.format(port=self.port, workers=self.workers, **places)
        path = os.path.join(self.home, "nginx.conf")
        with open(path, "w") as file:
            file.write(("user root;\n" if os.geteuid() == 0 else "") + text)
        self.run(program("nginx") or "nginx", "-p", self.home, "-c", path)
        self.await_answer(self.port)

    def listen(self) -> str:
        """Return the text behind the address in `listen`: parameters, and other directives."""
        return ""

    def version(self) -> str:
        """As it says itself."""
        return first_line(program("nginx") or "nginx", "-v").rpartition("/")[2]

    def post(self) -> tuple[str, list[str]]:
        """PUT of a name that is new."""
        return "PUT", ["/up/@"]


class Workers(Nginx):
    """The same with two worker processes."""

    name: str = "nginx, 2 workers"


class TLS(Nginx):
    """nginx with TLS 1.3; kernel TLS is off, as by default."""

    name: str = "nginx, TLS"
    omits: ClassVar[str] = "As nginx, with TLS by OpenSSL, therefore without `sendfile`."
    tls: ClassVar[bool] = True

    def listen(self) -> str:
        """Return the directives of TLS."""
        key, certificate = self.certificate.key, self.certificate.certificate
        return f" ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3"
