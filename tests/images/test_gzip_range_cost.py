"""A real daemon, asked for the ends of an image that is stored compressed by clients that hang up."""

import os
import socket

import requests

from tests.images.image_client import Client, bmp

REQUESTS = 200
SIDE = 9000 if "FILESTORED_DEEP" in os.environ else 4096
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_cancelled_range_requests_of_a_gzipped_image_cost_little(daemon):
    client = Client(daemon)
    data = bmp(SIDE, SIDE)
    identity = client.upload("large.bmp", data).json()["File ID"]
    before = cpu_seconds(daemon.pid)
    path = f"/imageapi/token/{client.token}/get-image/{identity}/"
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={len(data) - 10}-\r\n\r\n".encode()
    for _ in range(REQUESTS):
        with socket.create_connection(("127.0.0.1", daemon.port)) as peer:
            peer.sendall(request)
    assert requests.post(daemon.url, data=b"of another client", timeout=30).status_code == 200
    assert client.upload("small.bmp", bmp(8, 8)).status_code == 201
    assert cpu_seconds(daemon.pid) - before < 2.0
