"""Slow uploads on many connections do not keep other clients from uploading."""

import os
import time

import requests

from filestored.settings import MAX_UPLOADS
from filestored.storage.admission import MAX_BYTES_WITHOUT_SLOT, MIN_WINDOW_SECONDS
from tests.daemon.slow_uploads import upload_slowly
from tests.images.image_client import Client, png


def test_uploads_go_on_beside_more_slow_uploads_than_there_are_slots(start_daemon):
    daemon = start_daemon("--workers", "2")
    with upload_slowly(daemon, uploads=3 * MAX_UPLOADS, burst=MAX_BYTES_WITHOUT_SLOT + 1000):
        time.sleep(MIN_WINDOW_SECONDS + 0.5)
        sizes = [4096] * 40 + [1 << 20] * 8
        statuses = [
            requests.post(daemon.url, data=os.urandom(size), timeout=30).status_code for size in sizes
        ]
    assert [200] * len(sizes) == statuses


def test_uploads_go_on_beside_slow_uploads_of_few_bytes(start_daemon):
    daemon = start_daemon("--workers", "1")
    with upload_slowly(daemon, uploads=MAX_UPLOADS + 10):
        sizes = [4096] * 20 + [1 << 20] * 4
        statuses = [
            requests.post(daemon.url, data=os.urandom(size), timeout=30).status_code for size in sizes
        ]
    assert [200] * len(sizes) == statuses


def test_image_uploads_go_on_beside_slow_image_uploads(start_daemon):
    """Images have a store of their own, with its own slots."""
    daemon = start_daemon("--workers", "1", "--max-uploads", "4")
    client = Client(daemon)
    opening = (
        f"POST /imageapi/token/{client.token}/upload-image/ HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="f"; filename="slow.png"\r\n\r\n'
    ).encode() + png()
    with upload_slowly(daemon, uploads=8, burst=MAX_BYTES_WITHOUT_SLOT + 1000, opening=opening):
        time.sleep(MIN_WINDOW_SECONDS + 0.5)
        statuses = [client.upload(f"{number}.png", png()).status_code for number in range(10)]
    assert [201] * 10 == statuses
