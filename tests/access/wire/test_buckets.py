"""Buckets over the wire: files of their own, addresses within the bucket, directories of the first write."""

import hashlib
import json
import os

import pytest

from tests.access.wire.access_files import RIGHTS, Bucket, Token, access_text, bearer
from tests.daemon_process import Running

ADMIN = Token("admin", {"*": RIGHTS, "implied": RIGHTS})
READER = Token("reader", {"one": ["read"], "two": ["list", "read"], "unwritten": ["read"]})
ACCESS = access_text(
    *(ADMIN, READER, Token("nothing", {})),
    *(Bucket("one"), Bucket("two"), Bucket("unused"), Bucket("public", public=["read", "write"])),
)
ADMIN_LINE = (bearer(ADMIN.secret),)
JSON = "Accept: application/json"


def put(ask, prefix: str, content: bytes):
    return ask("PUT", f"{prefix}/files/{hashlib.sha256(content).hexdigest()}", ADMIN_LINE, content)


def path_of(served: Running, bucket: str, content: bytes) -> str:
    """Return the path at which a bucket keeps a content."""
    digest = hashlib.sha256(content).hexdigest()
    below = () if bucket == "default" else ("buckets", bucket)
    return os.path.join(served.store, *below, digest[:2], digest)


def test_equal_content_of_two_buckets_is_stored_twice(served, ask):
    content = b"equal content"
    paths = [path_of(served, bucket, content) for bucket in ("default", "one", "two")]
    assert [201] * 3 == [put(ask, prefix, content).status for prefix in ("", "/buckets/one", "/buckets/two")]
    assert 3 == len({os.stat(path).st_ino for path in paths})
    assert [1] * 3 == [os.stat(path).st_nlink for path in paths]
    digest = hashlib.sha256(content).hexdigest()
    assert 200 == ask("DELETE", f"/buckets/one/files/{digest}", ADMIN_LINE).status
    assert [404, 200, 200] == [
        ask("GET", f"{prefix}/files/{digest}", ADMIN_LINE).status
        for prefix in ("/buckets/one", "/buckets/two", "")
    ]


def test_upload_says_nothing_of_other_buckets(ask):
    content = b"known in another bucket"
    assert 201 == put(ask, "/buckets/one", content).status
    created = json.loads(ask("POST", "/buckets/two/", (*ADMIN_LINE, JSON), content).body)["created"]
    assert created is True


@pytest.mark.parametrize(
    ("prefix", "address"),
    [("", "/files/"), ("/buckets/default", "/files/"), ("/buckets/one", "/buckets/one/files/")],
)
def test_location_is_within_the_bucket(ask, prefix, address):
    content = f"content for {prefix}".encode()
    target = address + hashlib.sha256(content).hexdigest()
    for answer in (put(ask, prefix, content), ask("POST", f"{prefix}/", ADMIN_LINE, content)):
        assert target == answer.fields["location"]
    assert target == json.loads(ask("POST", f"{prefix}/", (*ADMIN_LINE, JSON), content).body)["url"]
    assert (200, content) == (lambda got: (got.status, got.body))(ask("GET", target, ADMIN_LINE))


def test_default_bucket_is_the_root(ask):
    content = b"in the default bucket"
    digest = hashlib.sha256(content).hexdigest()
    assert 201 == put(ask, "", content).status
    for target in (f"/buckets/default/files/{digest}", f"/buckets/default/?file_hash={digest}"):
        assert ask("GET", f"/files/{digest}", ADMIN_LINE).undated == ask("GET", target, ADMIN_LINE).undated
    assert 200 == ask("DELETE", f"/buckets/default/files/{digest}", ADMIN_LINE).status
    assert 404 == ask("GET", f"/files/{digest}", ADMIN_LINE).status


def test_bucket_without_files_has_no_directory_until_the_first_write(served, ask):
    directory = os.path.join(served.store, "buckets", "unused")
    for method, target in (
        ("GET", f"files/{'0' * 64}"),
        ("DELETE", f"files/{'0' * 64}"),
        ("GET", "files/"),
        ("GET", "usage"),
    ):
        status = ask(method, f"/buckets/unused/{target}", ADMIN_LINE).status
        assert (404 if "0" in target else 200) == status
    assert not os.path.exists(directory)
    assert 201 == put(ask, "/buckets/unused", b"the first").status
    assert os.path.exists(os.path.join(directory, "FORMAT"))
    assert os.path.exists(path_of(served, "unused", b"the first"))


def test_refused_upload_makes_no_directory(served, ask):
    for name in ("unknown", "un_known", "implied"):
        assert 401 == ask("POST", f"/buckets/{name}/", (), b"x").status
    assert 404 == ask("POST", "/buckets/unknown/", ADMIN_LINE, b"x").status
    assert not {"unknown", "un_known", "implied"} & set(os.listdir(os.path.join(served.store, "buckets")))


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [("POST", "usage", 405), ("PUT", "files/", 405), ("POST", f"files/{'0' * 64}", 405), ("PUT", "x", 404)],
)
def test_client_that_may_only_read_makes_no_directory(served, ask, method, target, status):
    assert status == ask(method, f"/buckets/unwritten/{target}", (bearer(READER.secret),), b"x").status
    assert "unwritten" not in os.listdir(os.path.join(served.store, "buckets"))


def test_bucket_that_only_a_token_names_exists(ask):
    assert 201 == put(ask, "/buckets/implied", b"implied").status


@pytest.mark.parametrize(
    "path",
    [
        "health",
        "openapi.json",
        "static/app.js",
        "imageapi/token/x/get-image-list/",
        "buckets/one/files/",
        "files",
    ],
)
def test_other_paths_are_not_below_a_bucket(ask, path):
    assert 404 == ask("GET", f"/buckets/one/{path}", ADMIN_LINE).status
    assert 401 == ask("GET", f"/buckets/one/{path}").status


def test_files_of_a_bucket_are_no_files_of_the_default_one(ask):
    """The directory of a bucket is inside that of the default one."""
    assert 201 == put(ask, "/buckets/one", b"inside").status
    listed = json.loads(ask("GET", "/files/", ADMIN_LINE).body)["files"]
    assert hashlib.sha256(b"inside").hexdigest() not in {each["hash"] for each in listed}


@pytest.mark.parametrize(
    ("lines", "buckets"),
    [
        ((), {"public": ["read", "write"]}),
        (
            (bearer(READER.secret),),
            {"public": ["read", "write"], "one": ["read"], "two": ["read", "list"], "unwritten": ["read"]},
        ),
        (
            ADMIN_LINE,
            {
                name: list(RIGHTS)
                for name in ("default", "one", "two", "unused", "public", "implied", "unwritten")
            },
        ),
    ],
)
def test_buckets_of_a_client_are_those_with_a_right(ask, lines, buckets):
    answer = ask("GET", "/buckets/", lines)
    found = json.loads(answer.body)["buckets"]
    assert 200 == answer.status
    assert {name: set(rights) for name, rights in buckets.items()} == {
        each["bucket"]: set(each["rights"]) for each in found
    }
    assert "no-store" == answer.fields["cache-control"]


def test_buckets_are_401_to_wrong_credentials(ask):
    assert 401 == ask("GET", "/buckets/", ("Authorization: Bearer x",)).status


# --- other spellings of an address -----------------------------------------------------------------------

SECRET_FILE = b"only for tokens"
SECRET_HASH = hashlib.sha256(SECRET_FILE).hexdigest()
SPELLINGS = [
    "/buckets/one/files/{hash}", "/%62uckets/one/files/{hash}", "/buckets/o%6ee/files/{hash}",
    "/buckets/one/%66iles/{hash}", "/buckets/one/files/%{first:x}{rest}", "//buckets/one/files/{hash}",
    "/buckets//one/files/{hash}", "/buckets/one//files/{hash}", "/buckets/one/files//{hash}",
    "/buckets/one/files/{hash}/", "/buckets/one/./files/{hash}", "/./buckets/one/files/{hash}",
    "/buckets/public/../one/files/{hash}", "/buckets/public/%2e%2e/one/files/{hash}",
    "/buckets/public%2f..%2fone/files/{hash}", "/buckets/public/files/../../one/files/{hash}",
    "/buckets/public/buckets/one/files/{hash}", "/buckets/public/one/files/{hash}",
    "/BUCKETS/one/files/{hash}", "/buckets/ONE/files/{hash}", "/buckets/one%20/files/{hash}",
    "/buckets/one%00/files/{hash}", "/buckets/one;public/files/{hash}", "/buckets/one,public/files/{hash}",
    "/buckets/one?bucket=public&file_hash={hash}", "/buckets/one/?file_hash={hash}",
    "/buckets/one/?hash={hash}", "/buckets/one/%3Fhash={hash}", "/files/{hash}", "/?file_hash={hash}",
    "/?hash={hash}",
    "/files/buckets/one/{hash}", "/files/one/{hash}", "/static/../files/{hash}", "/health/../files/{hash}",
    "/imageapi/../files/{hash}", "http://x/buckets/one/files/{hash}", "http://x//buckets/one/files/{hash}",
    "/buckets/*/files/{hash}", "/buckets/one/files/{hash}?public",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_of_an_address_avoids_the_token(ask, spelling):
    for prefix in ("", "/buckets/one"):
        assert put(ask, prefix, SECRET_FILE).status in (200, 201)
    target = spelling.format(hash=SECRET_HASH, first=ord(SECRET_HASH[0]), rest=SECRET_HASH[1:])
    for lines in ((), (bearer(Token("nothing", {}).secret),)):
        for method in ("GET", "HEAD", "DELETE", "PUT", "POST"):
            answer = ask(method, target, lines, SECRET_FILE if method in ("PUT", "POST") else None)
            assert answer.status in (400, 401, 404, 405)
            assert SECRET_FILE not in answer.body
    assert SECRET_FILE == ask("GET", f"/files/{SECRET_HASH}", ADMIN_LINE).body
    assert SECRET_FILE == ask("GET", f"/buckets/one/files/{SECRET_HASH}", ADMIN_LINE).body
