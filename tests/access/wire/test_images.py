"""The image API beside access rules: its own tokens decide, and no token of a bucket reaches an image."""

import hashlib
from itertools import count

import pytest

from tests.access.wire.access_files import RIGHTS, Token, access_text, bearer
from tests.images.image_client import Client, png

ADMIN = Token("admin", {"*": RIGHTS})
ACCESS = access_text(ADMIN)
NAMES = (f"user{number}" for number in count())
IMAGE = png()
DIGEST = hashlib.sha256(IMAGE).hexdigest()

every_credentials = pytest.mark.parametrize(
    "lines", [(), (bearer(ADMIN.secret),), ("Authorization: Bearer x",), ("Authorization:",)]
)


@pytest.fixture
def image(served):
    """A client of the image API, and the path of its image."""
    client = Client(served, next(NAMES))
    identity = client.upload("a.png", IMAGE).json()["File ID"]
    return client, f"/imageapi/token/{client.token}/get-image/{identity}/"


@every_credentials
def test_image_is_served_to_its_own_token_with_any_other_credentials(ask, image, lines):
    client, path = image
    answer = ask("GET", path, lines)
    assert (200, IMAGE) == (answer.status, answer.body)
    assert 200 == ask("GET", f"/imageapi/token/{client.token}/get-image-list/", lines).status


@every_credentials
def test_unknown_token_of_the_image_api_is_401_with_any_other_credentials(ask, image, lines):
    client, path = image
    answer = ask("GET", path.replace(client.token, "A" * 10), lines)
    assert (401, "Token") == (answer.status, answer.fields["www-authenticate"])


def test_image_is_no_file_of_a_bucket(ask, image):
    line = bearer(ADMIN.secret)
    for method in ("GET", "HEAD", "DELETE"):
        assert 404 == ask(method, f"/files/{DIGEST}", (line,)).status
    assert b'"files": []' in ask("GET", "/files/", (line,)).body
    assert IMAGE == ask("GET", image[1]).body
