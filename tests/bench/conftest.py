"""A listener that reads one upload after another, in a thread, with the standard library."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


class Listener(HTTPServer):
    """Answers 201; remembers how long the last body said it was, how long it was, and its digest."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.announced = self.received = 0
        self.digests = []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.announced = int(self.headers["Content-Length"])
        body = self.rfile.read(self.server.announced)
        self.server.received = len(body)
        self.server.digests.append(hashlib.sha256(body).digest())
        self.send_response(201)
        self.end_headers()

    do_PUT = do_POST

    def log_message(self, *args):
        pass


@pytest.fixture
def listener():
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
