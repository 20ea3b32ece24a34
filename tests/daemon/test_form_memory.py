"""Memory and descriptors while a form of 1,000 files is stored."""

import hashlib
import os

import pytest

from tests.daemon_process import memory
from tests.http_clients.raw_socket import RawSocketClient, ask, head

FILES = 1000
MAX_GROWTH_KIB = 24 * 1024
MAX_DESCRIPTORS = 40
"""More than one connection and one group of files need."""


def part(content):
    return b'--AB\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + content + b"\r\n"


@pytest.mark.parametrize("size", [100, 70_000])
def test_form_of_1000_files_is_stored_whole_in_bounded_memory(start_daemon, size):
    daemon = start_daemon("--workers", "1")
    contents = [hashlib.sha512(b"%d" % number).digest() + bytes(size) for number in range(FILES)]
    parts = [*map(part, contents), b"--AB--\r\n"]
    length = sum(map(len, parts))
    fields = ["Content-Type: multipart/form-data; boundary=AB", f"Content-Length: {length}"]
    first = part(b"first") + b"--AB--"
    assert 200 == ask(daemon.port, "POST", "/", fields[0], body=first).status
    before = memory(daemon.pid, "VmHWM"), len(os.listdir(f"/proc/{daemon.pid}/fd"))
    descriptors = []
    with RawSocketClient(daemon.port) as peer:
        peer.send(head("POST", "/", fields))
        for each in parts:
            peer.send(each)
            descriptors.append(len(os.listdir(f"/proc/{daemon.pid}/fd")))
        answer = peer.read_response()
    assert 200 == answer.status
    assert [hashlib.sha256(content).hexdigest() for content in contents] == answer.body.decode().splitlines()
    assert memory(daemon.pid, "VmHWM") - before[0] < MAX_GROWTH_KIB
    assert max(descriptors) - before[1] < MAX_DESCRIPTORS
    for content in contents[:: FILES // 10]:
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(daemon.store, digest[:2], digest), "rb") as file:
            assert content == file.read()
