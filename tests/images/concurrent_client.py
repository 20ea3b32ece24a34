"""Concurrent client of an account: ``python -m tests.images.concurrent_client PORT TOKEN SECONDS NUMBER``.

All clients first upload the same new names in the same order, then upload, rename, replace and delete at
random. Prints the statuses and the names that this client uploaded first as JSON.
"""

import http.client
import json
import random
import sys
import time

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da63fcff1f0003030200efa2a75b0000000049454e44ae426082"
)
NAMES = 20
"""Number of names that all clients upload."""


class ConcurrentClient:
    def __init__(self, port: int, token: str, number: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.token = token
        self.random = random.Random(number)
        self.statuses: set[int] = set()

    def call(self, method, path, name=None):
        body, fields = None, {}
        if name is not None:
            head = f'--b\r\nContent-Disposition: form-data; name="x"; filename="{name}"\r\n\r\n'
            body = head.encode() + PNG + b"\r\n--b--\r\n"
            fields = {"Content-Type": "multipart/form-data; boundary=b"}
        self.connection.request(method, f"/imageapi/token/{self.token}/{path}", body, fields)
        answer = self.connection.getresponse()
        found = answer.read()
        self.statuses.add(answer.status)
        return answer.status, found if answer.getheader("Content-Type") != "application/json" else json.loads(
            found
        )

    def race(self) -> list[str]:
        names = [f"race-{number}.png" for number in range(NAMES)]
        return [name for name in names if self.call("POST", "upload-image/", name)[0] == 201]

    def change_at_random(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            _, list_images = self.call("GET", "get-image-list/")
            name = f"riot-{self.random.randrange(8)}.png"
            identity = self.random.choice([*list_images.values(), "AAAA"])
            verb = self.random.choice(["upload", "update", "update", "delete", "get"])
            if verb == "upload":
                self.call("POST", "upload-image/", name)
            elif verb == "update":
                self.call("PATCH", f"update-image/{identity}/", name)
            elif verb == "delete":
                self.call("DELETE", f"delete-image/{identity}/")
            else:
                self.call("GET", f"get-image/{identity}/")


def main() -> None:
    port, token, seconds, number = sys.argv[1:]
    member = ConcurrentClient(int(port), token, int(number))
    print("ready", flush=True)
    sys.stdin.readline()
    won = member.race()
    print("raced", flush=True)
    sys.stdin.readline()
    member.change_at_random(float(seconds))
    tried = [f"race-{each}.png" for each in range(NAMES)]
    print(json.dumps({"statuses": sorted(member.statuses), "won": won, "tried": tried}))


if __name__ == "__main__":
    main()
