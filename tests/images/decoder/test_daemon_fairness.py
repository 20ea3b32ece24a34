"""A real daemon whose decoders one account tries to keep from the others."""

import select
import socket
from contextlib import ExitStack

import pytest

from tests.images.decodable_images import laborious_jpeg, png_of
from tests.images.image_client import Client, png

BOUNDARY = "b0undary"


def upload_of(token, data, name):
    """The bytes of an upload, which a raw socket sends."""
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="x"; filename="{name}"\r\n\r\n'.encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    head = (
        f"POST /imageapi/token/{token}/upload-image/ HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def thumbnail_of(token, identity, width):
    path = f"/imageapi/token/{token}/get-image/{identity}/?width={width}&height=2000"
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def send_all(daemon, requests, stack):
    """Send each request on a connection of its own; they stay open until `stack` is closed."""
    peers = []
    for request in requests:
        peers.append(stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port))))
        peers[-1].sendall(request)
    return peers


@pytest.fixture
def hostile(daemon):
    return Client(daemon, "mallory")


@pytest.mark.parametrize("stays", [True, False], ids=["staying", "hung up"])
def test_slow_uploads_of_one_account_delay_no_upload_of_another(daemon, hostile, stays):
    work = [
        upload_of(hostile.token, laborious_jpeg(4000, 1600, b"%d" % number), f"{number}.jpg")
        for number in range(34)
    ]
    anna = Client(daemon)
    with ExitStack() as stack:
        peers = send_all(daemon, work, stack)
        if not stays:
            stack.close()
        assert anna.upload("cat.png", png(2)).status_code == 201
        if stays:
            answered, _, _ = select.select(peers, [], [], 0)
            assert len(peers) - len(answered) >= 10


def test_uploads_beyond_the_queue_limit_of_one_account_are_503(daemon, hostile):
    work = [
        upload_of(hostile.token, laborious_jpeg(4000, 1600, b"%d" % number), f"{number}.jpg")
        for number in range(40)
    ]
    with ExitStack() as stack:
        peers = send_all(daemon, work, stack)
        answered, _, _ = select.select(peers, [], [], 30)
        assert b" 503 " in answered[0].recv(1000).partition(b"\r\n")[0]


def test_cancelled_thumbnail_requests_of_one_account_delay_no_other(daemon, hostile):
    large = hostile.upload("large.png", png_of(10_000, 9_000)).json()["File ID"]
    anna = Client(daemon)
    small = anna.upload("cat.png", png(300)).json()["File ID"]
    with ExitStack() as stack:
        send_all(daemon, [thumbnail_of(hostile.token, large, 100 + width) for width in range(70)], stack)
    assert anna.call("GET", f"get-image/{small}/?width=50").status_code == 200


def test_image_with_too_many_pixels_is_refused_with_the_limit(daemon, hostile):
    answer = hostile.upload("large.png", png_of(20_000, 20_000))
    assert answer.status_code == 413
    assert "200,000,000 pixels in all" in answer.json()
