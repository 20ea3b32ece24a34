"""Limits and formats of images on a real daemon."""

import socket
from io import BytesIO

import requests
from PIL import Image

from tests.images.decodable_images import encode, png_of
from tests.images.decoder.camera_corpus import heic
from tests.images.image_client import Client


def thumbnail(client, identity):
    answer = client.call("GET", f"get-image/{identity}/?width=64")
    assert 200 == answer.status_code
    return Image.open(BytesIO(answer.content)).size


def test_image_file_that_decoders_do_not_read_is_413_before_its_body(daemon):
    client = Client(daemon)
    head = (
        f"POST /imageapi/token/{client.token}/upload-image/ HTTP/1.1\r\nHost: localhost\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 600000000\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=30) as peer:
        peer.sendall(head.encode())
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 536,870,912 bytes" in answer


def test_max_pixels_is_the_limit_of_a_frame_and_half_of_that_of_a_jpeg(start_daemon):
    daemon = start_daemon("--workers", "1", "--max-pixels", "10k")
    client = Client(daemon)
    grey = Image.new("L", (200, 101))
    answers = [
        client.upload("small.png", png_of(100, 100)),
        client.upload("large.png", png_of(101, 100)),
        client.upload("small.jpeg", encode(grey.crop((0, 0, 200, 100)), "JPEG")),
        client.upload("large.jpeg", encode(grey, "JPEG")),
    ]
    assert [201, 413, 201, 413] == [answer.status_code for answer in answers]
    assert "10,000 pixels each and 20,000 pixels in all" in answers[1].json()


def test_stored_image_beyond_lower_limits_has_no_thumbnail(start_daemon):
    daemon = start_daemon("--workers", "1")
    client = Client(daemon)
    data = png_of(101, 100)
    identity = client.upload("cat.png", data).json()["File ID"]
    daemon.end()
    client.url = f"{start_daemon('--workers', '1', '--max-pixels', '10k').url}imageapi/"
    answer = client.call("GET", f"get-image/{identity}/?width=64")
    assert 406 == answer.status_code
    assert "10,000 pixels" in answer.json()
    assert data == client.call("GET", f"get-image/{identity}/").content


def test_jpeg_of_a_phone_is_found_at_its_location_and_has_a_thumbnail(daemon):
    client = Client(daemon)
    data = encode(Image.new("L", (12_000, 9_000), 90), "JPEG")
    answer = client.upload("phone.jpg", data)
    assert 201 == answer.status_code
    location = answer.headers["Location"]
    assert data == requests.get(daemon.url.rstrip("/") + location, timeout=60).content
    assert (64, 48) == thumbnail(client, answer.json()["File ID"])


def test_heic_is_stored_with_its_type_and_has_a_thumbnail(daemon):
    client = Client(daemon)
    data = heic()
    identity = client.upload("IMG_0001.HEIC", data).json()["File ID"]
    answer = client.call("GET", f"get-image/{identity}/")
    assert ("image/heic", data) == (answer.headers["Content-Type"], answer.content)
    assert (64, 32) == thumbnail(client, identity)
    assert {"IMG_0001.HEIC": identity} == client.list_images()


def test_composed_and_decomposed_name_are_one(daemon):
    client = Client(daemon)
    identity = client.upload("\u00e9.png", png_of(9, 9)).json()["File ID"]
    assert 409 == client.upload("e\u0301.png", png_of(8, 8)).status_code
    assert {"\u00e9.png": identity} == client.list_images()
