"""Accounts with images of a daemon, and a check that all of them are served.

The daemon's clock is `LATER` seconds ahead, so every file counts as old.
"""

import os

import requests

from tests.daemon_process import Running, until
from tests.images.image_client import png
from tests.wall_clock import DAY

LATER = 3 * DAY
USERS = ("anna", "bert")
EACH = 20
"""Images of each account."""

Filled = dict[str, tuple[str, dict[str, bytes]]]
"""The token of each account, and its images by their names."""


def home_of(daemon: Running) -> str:
    """The directory for images."""
    return os.path.join(daemon.directory, "images")


def fill(daemon: Running, users=USERS, each=EACH) -> Filled:
    """Make accounts with images."""
    filled: Filled = {}
    for user in users:
        token = api(daemon, f"generate-token/{user}").json()["token"]
        images = {f"{user}-{number}.png": png(4 + number) for number in range(each)}
        for name, data in images.items():
            answer = api(daemon, f"token/{token}/upload-image", "POST", files={"x": (name, data)})
            assert 201 == answer.status_code
        filled[user] = token, images
    return filled


def missing(daemon: Running, filled: Filled) -> list[str]:
    """Tokens that do not open their account, and images that are not given back as they were."""
    found = []
    for user, (token, images) in filled.items():
        listed = api(daemon, f"token/{token}/get-image-list")
        list_images = listed.json() if listed.status_code == 200 else {}
        found += [f"token of {user}"] * (listed.status_code != 200)
        for name, data in images.items():
            answer = api(daemon, f"token/{token}/get-image/{list_images.get(name, 'none')}")
            found += [name] * ((answer.status_code, answer.content) != (200, data))
    return found


def api(daemon: Running, path: str, method: str = "GET", **more) -> requests.Response:
    """Ask the image API."""
    return requests.request(method, f"{daemon.url}imageapi/{path}/", timeout=60, **more)


def swept(daemon: Running) -> None:
    """Wait until the sweep of this start is over."""
    mark = os.path.join(home_of(daemon), ".sweep-due")
    until(lambda: not os.path.exists(mark), "the sweep is over")
