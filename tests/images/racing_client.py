"""Racing client of images: ``python -m tests.images.racing_client PORT TOKEN NUMBER BEGIN SECONDS``.

All clients begin each round at the same moment of the monotonic clock, which processes share, from BEGIN on.
In each they register the same account, and upload an image of their own with the same name. Those that lost
upload it with a name of their own, and rename it to the same name. Prints the answers as JSON.
"""

import http.client
import json
import sys
import time
from typing import Any

from tests.images.image_client import png

ROUND_SECONDS = 0.25


def account(number: int) -> str:
    """Return the name of the account of a round."""
    return f"racer_{number}"


def uploaded(number: int) -> str:
    """Return the name of the images that are uploaded in a round."""
    return f"upload-{number}.png"


def renamed(number: int) -> str:
    """Return the name to which images are renamed in a round."""
    return f"rename-{number}.png"


def image(client: int, number: int) -> bytes:
    """Return an image that no other client and no other round has."""
    return png(8, bytes([client, number & 0xFF, number >> 8]))


class RacingClient:
    """A client; `outcomes` are lists of kind, round, status, and value of the answer."""

    def __init__(self, port: int, token: str, number: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._token = token
        self._number = number
        self.outcomes: list[tuple[str, int, int, Any]] = []

    def run_round(self, number: int) -> None:
        """Take part in two races, or three."""
        own = f"token/{self._token}"
        data = image(self._number, number)
        self._call("account", number, "GET", f"generate-token/{account(number)}/")
        if self._call("upload", number, "POST", f"{own}/upload-image/", uploaded(number), data):
            return
        spare = f"spare-{self._number}-{number}.png"
        identity = self._call("spare", number, "POST", f"{own}/upload-image/", spare, data)
        self._call("rename", number, "PATCH", f"{own}/update-image/{identity}/", renamed(number), data)

    def _call(
        self, kind: str, number: int, method: str, path: str, name: str = "", data: bytes = b""
    ) -> str | None:
        """Return the id of a stored image, or None."""
        disposition = f'form-data; name="x"; filename="{name}"'.encode()
        body = b"--b\r\nContent-Disposition: %b\r\n\r\n%b\r\n--b--\r\n" % (disposition, data) if name else b""
        fields = {"Content-Type": "multipart/form-data; boundary=b"} if name else {}
        self._connection.request(method, f"/imageapi/{path}", body or None, fields)
        answer = self._connection.getresponse()
        value = json.loads(answer.read())
        self.outcomes.append((kind, number, answer.status, value))
        return value["File ID"] if answer.status == 201 and name else None


def main() -> None:
    """Run rounds until the time is over."""
    port, token, number = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    begin, seconds = float(sys.argv[4]), float(sys.argv[5])
    client = RacingClient(port, token, number)
    for each in range(int(seconds / ROUND_SECONDS)):
        time.sleep(max(0.0, begin + each * ROUND_SECONDS - time.monotonic()))
        client.run_round(each)
        if time.monotonic() > begin + seconds:
            break
    print(json.dumps(client.outcomes))


if __name__ == "__main__":
    main()
