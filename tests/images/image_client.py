"""Blocking client of the image API, for one account of a real daemon; PNG and BMP images of any size."""

import struct
import zlib

import requests


def png(size=8, colour=b"\xff\0\0"):
    """A whole PNG, which decodes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + colour * size) * size
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    data = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bmp(width, height):
    """A whole BMP, all white."""
    row = b"\xff" * (width * 3 + -width * 3 % 4)
    size = 54 + len(row) * height
    head = struct.pack("<2sIHHI", b"BM", size, 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + row * height


class Client:
    """The image API of a daemon, for one account."""

    def __init__(self, daemon, username="anna"):
        self.url = f"{daemon.url}imageapi/"
        answer = requests.get(f"{self.url}generate-token/{username}/", timeout=30)
        assert 201 == answer.status_code
        self.token = answer.json()["token"]

    @classmethod
    def of(cls, daemon, token):
        """A client of an account that exists."""
        client = cls.__new__(cls)
        client.url, client.token = f"{daemon.url}imageapi/", token
        return client

    def call(self, method, path, **more):
        return requests.request(method, f"{self.url}token/{self.token}/{path}", timeout=60, **more)

    def upload(self, name, data):
        return self.call("POST", "upload-image/", files={"x": (name, data)})

    def list_images(self):
        return self.call("GET", "get-image-list/").json()

    def retrieve(self, username):
        return requests.get(f"{self.url}retrieve-token/{username}/", timeout=60).json()
