"""Processor time of a daemon under hostile requests, read from /proc/PID/stat."""

import os

from tests.daemon_process import read
from tests.http_clients.blocking import connect

PARTS = 16
HOSTILE_PART = b'--b\r\nContent-Disposition: form-data; name=a; x="' + b'\\"' * 3900 + b"\r\n\r\n\r\n"


def processor_seconds(pid):
    utime, stime = read(f"/proc/{pid}/stat").rpartition(")")[2].split()[11:13]
    return (int(utime) + int(stime)) / os.sysconf("SC_CLK_TCK")


def test_a_form_of_unclosed_quoted_strings_costs_little_processor_time(daemon):
    body = HOSTILE_PART * PARTS + b"--b--"
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    before = processor_seconds(daemon.pid)
    for _ in range(2):
        with connect(daemon.port) as client:
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
            client.send(body)
            assert 413 == client.read_response().status
    assert processor_seconds(daemon.pid) - before < 2
