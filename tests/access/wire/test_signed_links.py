"""Signed links: a download without credentials, and all that makes it 403."""

import base64
import hashlib
import time

import pytest

from tests.access.wire.access_files import FUTURE, RIGHTS, Bucket, Token, access_text, bearer

ANNA = Token("anna", {"photos": RIGHTS, "default": ["read"]})
WRITER = Token("writer", {"photos": ["write", "delete", "list"]})
OTHER = Token("other", {"music": RIGHTS})
EXPIRED = Token("expired", {"*": RIGHTS}, expires="2020-01-01")
STRANGER = Token("stranger", {"*": RIGHTS})
ADMIN = Token("admin", {"*": RIGHTS})
ACCESS = access_text(
    *(ANNA, WRITER, OTHER, EXPIRED, ADMIN),
    *(Bucket("photos"), Bucket("music"), Bucket("public", public=["read"])),
)

FILE, SECOND = b"the shared file", b"another file"
HASH, SECOND_HASH = (hashlib.sha256(content).hexdigest() for content in (FILE, SECOND))
PHOTO = f"/buckets/photos/files/{HASH}"
PRIVATE = "private, no-cache"


@pytest.fixture(autouse=True)
def stored(ask):
    """Buckets that store both files."""
    for bucket in ("photos", "music", "public", "default"):
        for content in (FILE, SECOND):
            target = f"/buckets/{bucket}/files/{hashlib.sha256(content).hexdigest()}"
            assert ask("PUT", target, (bearer(ADMIN.secret),), content).status in (200, 201)


def parts(path: str = PHOTO, token: Token = ANNA, expires: str = FUTURE) -> dict[str, str]:
    """Return the parameters of a link."""
    return {"key": token.key_id, "expires": expires, "signature": token.signature(path, expires)}


def query(parameters: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in parameters.items())


# --- valid links ---------------------------------------------------------------------------------------

PATHS = [PHOTO, f"/files/{HASH}", f"/buckets/default/files/{HASH}", f"/buckets/photos/files/{HASH.upper()}"]


@pytest.mark.parametrize("path", [*PATHS, f"/buckets/ph%6ftos/files/{HASH}", f"/%66iles/{HASH}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_link_reads_the_file_of_its_path_as_it_is_sent(ask, path, method):
    answer = ask(method, f"{path}?{ANNA.sign(path)}")
    assert (200, PRIVATE) == (answer.status, answer.fields["cache-control"])
    assert (FILE if method == "GET" else b"") == answer.body


def test_parameters_have_any_order_and_the_name_is_not_signed(ask):
    link = parts()
    for parameters in (
        {"signature": link["signature"], "expires": link["expires"], "key": link["key"]},
        {"name": "a%20b.txt", **link},
        {**link, "name": "c.txt"},
    ):
        answer = ask("GET", f"{PHOTO}?{query(parameters)}")
        assert (200, PRIVATE) == (answer.status, answer.fields["cache-control"])
        assert ("name" in parameters) == ("content-disposition" in answer.fields)


def test_link_works_in_absolute_form(ask):
    assert 200 == ask("GET", f"http://x{PHOTO}?{ANNA.sign(PHOTO)}").status


def test_link_has_ranges_and_conditions(ask):
    target = f"{PHOTO}?{ANNA.sign(PHOTO)}"
    part = ask("GET", target, ("Range: bytes=0-1",))
    assert (206, FILE[:2], PRIVATE) == (part.status, part.body, part.fields["cache-control"])
    same = ask("GET", target, (f'If-None-Match: "{HASH}"',))
    assert (304, PRIVATE) == (same.status, same.fields["cache-control"])


def test_link_to_a_missing_file_is_404(ask):
    path = f"/buckets/photos/files/{'0' * 64}"
    assert 404 == ask("GET", f"{path}?{ANNA.sign(path)}").status


def test_link_beside_a_token_without_the_right_is_served(ask):
    answer = ask("GET", f"{PHOTO}?{ANNA.sign(PHOTO)}", (bearer(OTHER.secret),))
    assert (200, FILE) == (answer.status, answer.body)
    assert answer.fields["cache-control"].startswith("private")


def test_link_beside_wrong_credentials_is_401(ask):
    for line in ("Authorization: Bearer x", bearer(STRANGER.secret), bearer(EXPIRED.secret)):
        assert 401 == ask("GET", f"{PHOTO}?{ANNA.sign(PHOTO)}", (line,)).status


def test_link_of_a_token_with_all_rights_works_in_a_public_bucket(ask):
    path = f"/buckets/public/files/{HASH}"
    answer = ask("GET", f"{path}?{ADMIN.sign(path)}")
    assert (200, PRIVATE) == (answer.status, answer.fields["cache-control"])


# --- links that are 403 --------------------------------------------------------------------------------


def other_last_characters(signature: str) -> list[str]:
    """Return texts that a lenient decoder takes for this signature: two bits of its end are unused."""
    raw = base64.urlsafe_b64decode(signature + "=")
    texts = (
        signature[:-1] + letter
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )
    return [t for t in texts if t != signature and base64.urlsafe_b64decode(t + "=") == raw]


def altered_signatures() -> list[str]:
    signature = ANNA.signature(PHOTO)
    flipped = [
        signature[:place] + ("A" if letter != "A" else "B") + signature[place + 1 :]
        for place, letter in enumerate(signature)
    ]
    hexadecimal = base64.urlsafe_b64decode(signature + "=").hex()
    others = [
        signature.swapcase(), signature + "=", signature + "%3D", signature + "A", signature[:-1], "",
        "A" * 43, "A" * 9000, hexadecimal, "%C3%A9", "%00", f"{signature}%00", f"%20{signature}",
        f"{signature}+", "%ff%fe", "None",
    ]  # fmt: skip
    return [*flipped, *others, *other_last_characters(signature)]


def test_altered_signature_is_403(ask):
    for signature in altered_signatures():
        answer = ask("GET", f"{PHOTO}?{query({**parts(), 'signature': signature})}")
        assert (403 if len(signature) < 9000 else 414) == answer.status, signature


@pytest.mark.parametrize(
    "key",
    [
        *("", "0" * 16, ANNA.key_id.upper(), ANNA.key_id[:-1], ANNA.key_id + "0", "0" * 64),
        *(
            OTHER.key_id,
            STRANGER.key_id,
            WRITER.key_id,
            "anna",
            ANNA.sha256.hex()[:16],
            "%C3%A9",
            "%ff",
            "%00",
        ),
    ],
)
def test_altered_key_is_403(ask, key):
    assert 403 == ask("GET", f"{PHOTO}?{query({**parts(), 'key': key})}").status


@pytest.mark.parametrize(
    "expires",
    [
        *(str(int(FUTURE) + 1), "0" + FUTURE, "%2B" + FUTURE, "+" + FUTURE, FUTURE + ".0", "", "x", "-1"),
        *(FUTURE[:2] + "_" + FUTURE[2:], "9" * 400, "1e12", "inf", "nan", "%D9%A3" * 10, "%20" + FUTURE),
    ],
)
def test_altered_expiry_is_403(ask, expires):
    assert 403 == ask("GET", f"{PHOTO}?{query({**parts(), 'expires': expires})}").status


@pytest.mark.parametrize(
    "expires", ["0", "1", "-1", "1e12", "inf", "nan", "x", "", "9999999999999999999999.5"]
)
def test_expiry_that_is_past_or_no_number_is_403_with_a_right_signature(ask, expires):
    assert 403 == ask("GET", f"{PHOTO}?{ANNA.sign(PHOTO, expires)}").status


def test_expired_link_is_403(ask):
    expires = str(int(time.time()) - 1)
    assert 403 == ask("GET", f"{PHOTO}?{ANNA.sign(PHOTO, expires)}").status


@pytest.mark.parametrize("name", ["key", "expires", "signature"])
def test_parameter_that_comes_twice_or_not_at_all_is_403(ask, name):
    link = parts()
    for twice in (f"{name}={link[name]}", f"{name}=x", f"{name}="):
        assert 403 == ask("GET", f"{PHOTO}?{query(link)}&{twice}").status
        assert 403 == ask("GET", f"{PHOTO}?{twice}&{query(link)}").status
    del link[name]
    assert 403 == ask("GET", f"{PHOTO}?{query(link)}").status


@pytest.mark.parametrize(
    "path",
    [
        *(f"/buckets/photos/files/{SECOND_HASH}", f"/buckets/music/files/{HASH}", f"/files/{HASH}"),
        *(f"/buckets/default/files/{HASH}", f"/buckets/photos/files/{HASH.upper()}"),
        *(f"/buckets/ph%6ftos/files/{HASH}", f"/buckets/photos/files/%{ord(HASH[0]):x}{HASH[1:]}"),
        *(f"/buckets/unknown/files/{HASH}", f"/buckets/public/files/{HASH}"),
    ],
)
def test_link_is_403_at_another_path(ask, path):
    assert 403 == ask("GET", f"{path}?{ANNA.sign(PHOTO)}").status


@pytest.mark.parametrize(
    ("token", "path"),
    [
        (WRITER, PHOTO),
        (OTHER, PHOTO),
        (EXPIRED, PHOTO),
        (STRANGER, PHOTO),
        (ADMIN, f"/buckets/unknown/files/{HASH}"),
        (ADMIN, f"/buckets/No_Name/files/{HASH}"),
        (STRANGER, f"/buckets/public/files/{HASH}"),
        (EXPIRED, f"/buckets/public/files/{HASH}"),
    ],
)
def test_link_never_exceeds_its_token(ask, token, path):
    assert 403 == ask("GET", f"{path}?{token.sign(path)}").status
    assert 403 == ask("HEAD", f"{path}?{token.sign(path)}").status


def test_wrong_link_is_403_in_a_public_bucket(ask):
    path = f"/buckets/public/files/{HASH}"
    assert 403 == ask("GET", f"{path}?{ANNA.sign(PHOTO)}").status
    assert 403 == ask("GET", f"{path}?{ADMIN.sign(path, '1')}").status
    assert 200 == ask("GET", path).status


def test_signature_of_another_method_is_403(ask):
    text = f"HEAD\n{PHOTO}\n{FUTURE}".encode()
    signature = (
        base64.urlsafe_b64encode(__import__("hmac").digest(ANNA.sha256, text, "sha256")).decode().rstrip("=")
    )
    for method in ("GET", "HEAD"):
        assert 403 == ask(method, f"{PHOTO}?{query({**parts(), 'signature': signature})}").status


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("DELETE", PHOTO, None),
        ("PUT", PHOTO, FILE),
        ("POST", PHOTO, FILE),
        ("OPTIONS", PHOTO, None),
        ("BREW", PHOTO, None),
        ("POST", "/buckets/photos/", FILE),
        ("GET", f"/buckets/photos/?file_hash={HASH}", None),
        ("GET", "/buckets/photos/files/", None),
        ("GET", "/buckets/photos/usage", None),
    ],
)
def test_link_gives_no_other_right(ask, method, target, body):
    path, _, rest = target.partition("?")
    signed = f"{path}?{rest}&{ANNA.sign(path)}" if rest else f"{path}?{ANNA.sign(path)}"
    assert 401 == ask(method, signed, (), body).status
    assert 200 == ask("GET", f"{PHOTO}?{ANNA.sign(PHOTO)}").status
