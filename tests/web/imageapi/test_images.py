"""Every call of the image API: bodies, messages and statuses."""

import re

import pytest
from twisted.internet.defer import Deferred

from filestored.errors import DecodingTooCostly, NotAnImage, Overloaded, TooLarge, TooManyPixels
from tests.images.catalog_samples import BMP, PNG
from tests.web import forms
from tests.web.forms import FORM, form
from tests.web.imageapi.image_wire import EVERYWHERE, IN_MEMORY, ImageWire, part, said, value

pytestmark = pytest.mark.servers(*EVERYWHERE)

# --- accounts --------------------------------------------------------------------------------------


def test_second_token_of_a_user_name_is_409(wire):
    answer = wire.call("GET", "generate-token/anna/")
    assert 201 == answer.status
    assert re.fullmatch("[A-Za-z0-9_-]{10}", value(answer)["token"])
    assert ["token"] == list(value(answer))
    assert (409, "User exists") == said(wire.call("GET", "generate-token/anna/"))


def test_token_can_be_retrieved(wire, token):
    assert (200, {"anna": token}) == said(wire.call("GET", "retrieve-token/anna/"))
    assert (404, "User does not exist") == said(wire.call("GET", "retrieve-token/bert/"))


@pytest.mark.parametrize("name", ["a", "_", "0", "a" * 64, "Anna_2"])
def test_user_name_of_letters_digits_and_underscores_is_accepted(wire, name):
    token = wire.register(name)
    assert (200, {name: token}) == said(wire.call("GET", f"retrieve-token/{name}/"))


def test_user_names_are_case_sensitive(wire):
    assert wire.register("anna") != wire.register("Anna")


@pytest.mark.parametrize("name", ["a" * 65, "a-b", "a.b", "%20", "%D0%B6", "a%0a", "%EF%BC%A1", "*"])
def test_invalid_user_name_is_400_and_404(wire, name):
    assert 400 == wire.call("GET", f"generate-token/{name}/").status
    assert (404, "User does not exist") == said(wire.call("GET", f"retrieve-token/{name}/"))
    assert [] == wire.records.names("accounts")


def test_regenerated_token_invalidates_the_former_one(wire, token):
    identity = wire.add(token)
    answer = wire.call("POST", f"token/{token}/regenerate-token/")
    assert 200 == answer.status
    new = value(answer)["token"]
    assert new != token
    assert (401, "Unknown token") == said(wire.call("GET", f"token/{token}/get-image-list/"))
    assert {"cat.png": identity} == wire.list_images(new)
    assert (200, {"anna": new}) == said(wire.call("GET", "retrieve-token/anna/"))
    assert 1 == len(wire.records.names("tokens"))


def test_no_token_is_stored_in_plain_text(wire, token):
    kept = "".join(
        f"{name} {wire.records.read(name)}" for name in [*wire.records.names("accounts"), *tokens(wire)]
    )
    assert token not in kept


def tokens(wire):
    return wire.records.names("tokens")


# --- images ----------------------------------------------------------------------------------------


def test_uploaded_image_can_be_downloaded(wire, token):
    answer = wire.upload(token)
    assert 201 == answer.status
    identity = value(answer)["File ID"]
    assert re.fullmatch("[A-Za-z0-9_-]{4}", identity)
    answer = wire.get(token, identity)
    assert (200, PNG) == (answer.status, answer.body)
    assert "image/png" == answer.fields["content-type"]
    assert 'inline; filename="cat.png"' == answer.fields["content-disposition"]


def test_list_has_all_names_and_ids(wire, token):
    assert (200, {}) == said(wire.call("GET", f"token/{token}/get-image-list/"))
    list_images = {name: wire.add(token, name=name) for name in ("cat.png", "Ёжик.png", "a b.png")}
    assert list_images == wire.list_images(token)


def test_deleted_image_is_404(wire, token):
    identity = wire.add(token)
    assert (200, "Image deleted") == said(wire.delete(token, identity))
    for answer in (wire.delete(token, identity), wire.get(token, identity), wire.update(token, identity)):
        assert (404, "Image does not exist") == said(answer)
    assert {} == wire.list_images(token)
    assert [] == wire.backend.digests(None, 9)


@pytest.mark.parametrize("name", ["cat.png", "dog.bmp"])
def test_update_replaces_the_image_of_an_id(wire, token, name):
    identity = wire.add(token)
    assert (200, "Image updated") == said(wire.update(token, identity, BMP, name))
    answer = wire.get(token, identity)
    assert (BMP, "image/bmp") == (answer.body, answer.fields["content-type"])
    assert {name: identity} == wire.list_images(token)
    assert 1 == len(wire.backend.digests(None, 9))


def test_duplicate_image_name_is_409(wire, token):
    first, second = wire.add(token), wire.add(token, name="dog.png")
    assert (409, "An image of this name exists") == said(wire.upload(token, BMP))
    assert (409, "An image of this name exists") == said(wire.update(token, second, BMP))
    assert {"cat.png": first, "dog.png": second} == wire.list_images(token)
    assert PNG == wire.get(token, second).body
    assert 2 == len(wire.backend.digests(None, 9))


@pytest.mark.parametrize("data", [b"hello", b"", b"<svg/>", b"x" * 100_000, b"GIF88a" + b"x" * 200])
def test_non_image_is_406_and_changes_nothing(wire, token, data):
    identity = wire.add(token)
    assert 406 == wire.upload(token, data, "dog.png").status
    assert 406 == wire.update(token, identity, data).status
    assert {"cat.png": identity} == wire.list_images(token)
    assert PNG == wire.get(token, identity).body
    assert 1 == len(wire.backend.digests(None, 9))


@pytest.mark.servers(*IN_MEMORY)
def test_non_image_is_rejected_before_the_rest_arrives(wire, token):
    wire.begin_upload(token, 1000000000)
    wire.send(form(part(b"x" * 200))[:-50])
    (answer,) = wire.answers("POST")
    assert 406 == answer.status
    assert 0 == wire.blobs.uploads_in_flight


@pytest.mark.parametrize("size", [0, 1, 63])
def test_signature_is_checked_at_the_end_of_short_images(wire, token, size):
    data = PNG[:size]
    assert (201 if size >= 8 else 406) == wire.upload(token, data).status


@pytest.mark.servers(*IN_MEMORY)
def test_image_uploaded_byte_by_byte_is_unchanged(wire, token):
    body = form(part(BMP))
    wire.begin_upload(token, len(body))
    wire.send_bytewise(body)
    (answer,) = wire.answers("POST")
    assert BMP == wire.get(token, value(answer)["File ID"]).body


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.servers(*IN_MEMORY)
def test_incomplete_image_upload_stores_nothing(wire, token, cut):
    body = form(part(BMP))
    wire.begin_upload(token, len(body))
    wire.send(body[: len(body) * cut // 5])
    wire.disconnect()
    wire.connect()
    assert {} == wire.list_images(token)
    assert ([], 0) == (wire.backend.digests(None, 9), wire.blobs.uploads_in_flight)


# --- forms -----------------------------------------------------------------------------------------


def post(wire, token, body, kind=FORM, **fields):
    return wire.call("POST", f"token/{token}/upload-image/", body, Content_Type=kind, **fields)


def test_first_file_of_the_form_is_stored(wire, token):
    field = part(b"value", disposition='form-data; name="x"')
    body = form(field, part(PNG, "cat.png"), part(BMP, "dog.bmp"), part(b"hello", "note.txt"))
    assert 201 == post(wire, token, body).status
    assert ["cat.png"] == list(wire.list_images(token))


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="x"; filename="Ёжик.png"', "Ёжик.png"),
        ("form-data; name=\"x\"; filename*=UTF-8''%D0%81%D0%B6.png", "Ёж.png"),
        ('form-data; name="x"; filename="fallback.png"; filename*=utf-8\'ru\'%D0%B6.png', "ж.png"),
        ("form-data; name=\"x\"; filename*=ISO-8859-1''%E9.png", "é.png"),
        ('form-data; name="x"; filename="../../etc/cat.png"', "cat.png"),
        ('form-data; name="x"; filename="C:\\pictures\\cat.png"', "cat.png"),
        ('form-data; name="x"; filename="a%22b.png"', 'a"b.png'),
        ("form-data; name=x; filename=cat.png", "cat.png"),
        ('form-data; filename=".."', ".."),
        ("form-data; name=x; filename=cat.png; filename*=koi8-r''%C5", "cat.png"),
        ("form-data; name=x; filename=cat.png; filename*=utf-8''%FF", "cat.png"),
        ("form-data; name=x;\r\n filename*0*=utf-8''%D0%81;\r\n filename*1*=.png", "Ё.png"),
        ('form-data; name="x"; filename="a\\"b.png"', 'a"b.png'),
    ],
)
def test_image_has_the_file_name_of_the_form(wire, token, disposition, name):
    if "name" not in disposition.replace("filename", ""):
        disposition += '; name="x"'
    answer = post(wire, token, form(part(PNG, disposition=disposition)))
    assert 201 == answer.status
    assert [name] == list(wire.list_images(token))


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="x"; filename="photos/"',
        f'form-data; name="x"; filename="{"a" * 256}"',
        "form-data; name=\"x\"; filename*=UTF-8''%FF",
        "form-data; name=\"x\"; filename*=UTF-16''%D0",
    ],
)
def test_invalid_image_name_is_400(wire, token, disposition):
    assert 400 == post(wire, token, form(part(PNG, disposition=disposition))).status
    assert {} == wire.list_images(token)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (form(), FORM, 400),
        (form(part(b"value", disposition='form-data; name="x"')), FORM, 400),
        (form(part(b"", disposition='form-data; name="x"; filename=""')), FORM, 400),
        (form(part(PNG))[:-8], FORM, 400),
        (b"", FORM, 400),
        (None, FORM, 400),
        (form(part(PNG)), "multipart/form-data", 400),
        (form(part(PNG)), FORM.replace(";", ""), 400),
        (form(part(PNG)), FORM.replace(";", ","), 400),
        (form(forms.part(PNG, "form-data; filename=x", "Content-Transfer-Encoding: base64")), FORM, 400),
        (form(part(PNG, "é.png")).replace("é".encode(), b"\xe9"), FORM, 400),
        (b"x=y", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded; charset=utf-8", 400),
        (PNG, "image/png", 415),
        (PNG, "application/octet-stream", 415),
        (b'{"x": "y"}', "application/json", 415),
        (form(part(PNG)), FORM.replace("form-data", "mixed"), 415),
    ],
)
def test_body_without_a_file_in_a_form_is_refused(wire, token, body, kind, status):
    identity = wire.add(token)
    assert status == post(wire, token, body, kind).status
    path = f"token/{token}/update-image/{identity}/"
    assert status == wire.call("PATCH", path, body, Content_Type=kind).status
    assert {"cat.png": identity} == wire.list_images(token)
    assert 1 == len(wire.backend.digests(None, 9))


def test_body_without_content_type_is_415(wire, token):
    assert 415 == wire.call("POST", f"token/{token}/upload-image/", PNG).status


def test_415_names_the_accepted_media_type(wire, token):
    identity = wire.add(token)
    posted = wire.call("POST", f"token/{token}/upload-image/", PNG)
    patched = wire.call("PATCH", f"token/{token}/update-image/{identity}/", PNG)
    names = ("accept", "accept-post", "accept-patch")
    form_type = "multipart/form-data"
    assert [form_type, form_type, None] == [posted.fields.get(name) for name in names]
    assert [form_type, None, form_type] == [patched.fields.get(name) for name in names]


def test_201_has_the_location_of_the_image(wire, token):
    answer = wire.upload(token)
    identity = value(answer)["File ID"]
    assert f"/imageapi/token/{token}/get-image/{identity}/" == answer.fields["location"]
    assert PNG == wire.get(token, identity).body


def test_201_of_generate_token_has_the_location_of_the_token(wire):
    answer = wire.call("GET", "generate-token/bert/")
    assert "/imageapi/retrieve-token/bert/" == answer.fields["location"]
    assert value(answer)["token"] == value(wire.call("GET", "retrieve-token/bert/"))["bert"]


def test_form_with_content_encoding_is_415(wire, token):
    assert 415 == post(wire, token, form(part(PNG)), Content_Encoding="gzip").status


@pytest.mark.servers(*IN_MEMORY)
def test_image_over_the_size_limit_is_413(wire, token):
    wire.images.max_size = wire.blobs.max_size = wire.blobs._admission.max_size = len(PNG)
    answer = wire.upload(token, PNG + b"x")
    assert 413 == answer.status
    assert f"larger than {len(PNG):,} bytes" in value(answer)
    assert 201 == wire.upload(token, PNG).status


@pytest.mark.servers(*IN_MEMORY)
def test_form_announced_too_large_is_413_before_the_body(wire, token):
    wire.begin_upload(token, 99999999999, "Expect: 100-continue")
    (answer,) = wire.answers("POST")
    assert 413 == answer.status


# --- verification ---------------------------------------------------------------------------


class FakeDecoder:
    """A decoder that raises `error`, if it is not None."""

    def __init__(self, error):
        self.error = error
        self.seen = []

    async def _verify(self, blob, owner):
        self.seen.append((blob, owner))
        if self.error:
            raise self.error

    def check_format(self, media_type):
        if media_type == "image/x-exr":
            raise NotAnImage("no EXR")

    def verify(self, blob, owner):
        return Deferred.fromCoroutine(self._verify(blob, owner))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAnImage(), 406),
        (TooManyPixels("more than 7"), 413),
        (DecodingTooCostly(), 413),
        (TooLarge(), 413),
        (Overloaded(), 503),
        (OSError(5, "x"), 500),
    ],
)
def test_image_that_fails_verification_is_refused(error, status):
    decoder = FakeDecoder(None)
    wire = ImageWire(decoder=decoder)
    token = wire.register()
    identity = wire.add(token, BMP)
    ((blob, owner),) = decoder.seen
    assert (len(BMP), "anna") == (blob.size, owner)
    decoder.error = error
    assert status == wire.upload(token, PNG, "dog.png").status
    assert status == wire.update(token, identity, PNG).status
    assert {"cat.png": identity} == wire.list_images(token)
    assert BMP == wire.get(token, identity).body
    assert 1 == len(wire.backend.digests(None, 9))


def test_format_that_is_not_decoded_is_refused_by_its_first_bytes():
    wire = ImageWire(decoder=FakeDecoder(None))
    token = wire.register()
    answer = wire.upload(token, b"\x76\x2f\x31\x01" + bytes(100), "light.exr")
    assert (406, "no EXR") == (answer.status, value(answer))
    assert {} == wire.list_images(token)


def test_thumbnail_without_a_decoder_is_501(wire, token):
    identity = wire.add(token)
    answer = wire.call("GET", f"token/{token}/get-image/{identity}/?width=10")
    assert 501 == answer.status
    assert "pip install '.[images]'" in value(answer)


# --- paths and methods ------------------------------------------------------------------------------

PLACES = {
    "generate-token/anna/": "GET",
    "retrieve-token/anna/": "GET, HEAD",
    "token/TOKEN/regenerate-token/": "POST",
    "token/TOKEN/upload-image/": "POST",
    "token/TOKEN/get-image/ID/": "GET, HEAD",
    "token/TOKEN/get-image-list/": "GET, HEAD",
    "token/TOKEN/delete-image/ID/": "DELETE",
    "token/TOKEN/update-image/ID/": "PATCH",
}


@pytest.mark.parametrize(("path", "allowed"), PLACES.items())
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"])
def test_other_methods_of_the_image_api_are_405(wire, token, path, allowed, method):
    path = path.replace("TOKEN", token).replace("ID", "none")
    answer = wire.call(method, path)
    if method in allowed.split(", "):
        assert 405 != answer.status
    else:
        assert (405, allowed) == (answer.status, answer.fields["allow"])
    assert "no-referrer" == answer.fields["referrer-policy"]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("spoil", [lambda p: p[:-1], lambda p: p + "/", lambda p: p + "x", lambda p: "x" + p])
def test_path_without_trailing_slash_is_404(wire, token, path, spoil):
    path = spoil(path.replace("TOKEN", token).replace("ID", "none"))
    answer = wire.call(PLACES.get(path, "GET"), path)
    assert (404, "There is nothing at this address.") == said(answer)
    assert "no-referrer" == answer.fields["referrer-policy"]


@pytest.mark.parametrize("path", ["", "token/", "token//upload-image/", "generate-token//"])
def test_unknown_path_of_the_image_api_is_404(wire, path):
    assert wire.call("GET", path).status in (400, 401, 404, 405)


def test_site_without_images_has_no_image_api(make_wire):
    assert 404 == make_wire().ask("GET", "/imageapi/generate-token/anna/").status


@pytest.mark.parametrize("path", ["get-image-list/", "get-image/ID/"])
def test_head_of_an_image_is_get_without_body(wire, token, path):
    path = f"token/{token}/" + path.replace("ID", wire.add(token))
    get, head = wire.call("GET", path), wire.call("HEAD", path)
    assert (get.undated[:2], b"") == (head.undated[:2], head.body)
