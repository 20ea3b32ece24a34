"""The text of the access file: what it means, and the one line for each error."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestored.access.access_toml import parse_origin
from filestored.access.rules import AccessRules, BucketRules, Right
from filestored.errors import AccessFileError

READ, WRITE, DELETE, LIST = Right
A, B = "a" * 64, "B" * 64
SECRET = "fst_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA7B1Okw"

COMPLETE = f"""
[tokens.ci]
sha256 = "{A}"                     # of the secret
expires = 2027-03-01
[tokens.ci.buckets]
builds = ["read", "write"]
"*" = ["read"]

[tokens."a.b_c-D"]
sha256 = "{B}"
buckets = {{}}

[buckets.builds]
quota = "50 GiB"
max_files = 1_000_000
expire = "30 days"
public = ["read"]
cors = ["https://App.example:443", "http://localhost:8000"]

[buckets.default]
quota = 5
public = ["read", "write", "delete"]
"""


def test_complete_file_is_read():
    rules = AccessRules.parse(COMPLETE)
    ci, other = rules.tokens["ci"], rules.tokens["a.b_c-D"]
    assert bytes.fromhex(A) == ci.sha256
    assert datetime(2027, 3, 1, tzinfo=UTC).timestamp() == ci.expires
    assert {"builds": {READ, WRITE}, "*": {READ}} == ci.buckets
    assert (bytes.fromhex(B), None, {}) == (other.sha256, other.expires, other.buckets)
    assert rules.buckets == {
        "builds": BucketRules(
            "builds",
            quota=50 * 2**30,
            max_files=1_000_000,
            expire=30 * 86_400.0,
            public=frozenset([READ]),
            cors=frozenset(["https://app.example", "http://localhost:8000"]),
        ),
        "default": BucketRules("default", quota=5, public=frozenset([READ, WRITE, DELETE])),
    }


def test_empty_file_has_the_default_bucket_only():
    assert AccessRules({}, {}) == AccessRules.parse("")
    assert {"default": BucketRules("default")} == AccessRules.parse("# nothing").buckets


EXPIRES = {
    "2027-03-01": "2027-03-01T00:00:00+00:00",
    "2027-03-01T12:30:00Z": "2027-03-01T12:30:00+00:00",
    "2027-03-01 12:30:00+02:00": "2027-03-01T10:30:00+00:00",
    "2027-03-01T12:30:00.5": "2027-03-01T12:30:00.500000+00:00",
    "0001-01-01T00:00:00+23:59": "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59": "9999-12-31T23:59:59-23:59",
}


@pytest.mark.parametrize("text", EXPIRES)
def test_expiry_is_a_date_or_a_time_and_utc_without_a_zone(text):
    rules = AccessRules.parse(f'[tokens.ci]\nsha256 = "{A}"\nexpires = {text}\nbuckets = {{}}')
    assert datetime.fromisoformat(EXPIRES[text]).timestamp() == rules.tokens["ci"].expires


TOKEN = f'[tokens.ci]\nsha256 = "{A}"\n'
NO_DATE = "write a date without quotes, like 2027-03-01 or 2027-03-01T12:00:00Z"
NO_TOKEN_NAME = (
    "is not the name of a token: 1 to 64 letters, digits, dots, dashes and underscores, "
    "and the first is a letter or digit"
)
NO_BUCKET_NAME = (
    "is not the name of a bucket: 1 to 63 lower-case letters, digits and dashes, and the first is no dash"
)
NO_ORIGIN = "is not an origin; write it like https://app.example or http://localhost:8000"

ERRORS = {
    "[tokens": "Expected ']' at the end of a table declaration (at end of document)",
    "x = 1": "x: unknown key",
    "tokens = 1": "tokens: Expected `object`, got `int`",
    "[[tokens]]": "tokens: Expected `object`, got `array`",
    "[tokens]\nci = 1": "tokens.ci: Expected `object`, got `int`",
    "[tokens.ci]\nbuckets = {}": "tokens.ci.sha256: it is missing",
    TOKEN: "tokens.ci.buckets: it is missing",
    f"{TOKEN}bucket = []": "tokens.ci.bucket: unknown key",
    f"{TOKEN}buckets = []": "tokens.ci.buckets: Expected `object`, got `array`",
    f"{TOKEN}buckets = {{b = 'read'}}": "tokens.ci.buckets.b: Expected `array`, got `str`",
    f"{TOKEN}buckets = {{b = ['reed']}}": "tokens.ci.buckets.b[0]: Invalid enum value 'reed'",
    f"{TOKEN}buckets = {{b = ['Read']}}": "tokens.ci.buckets.b[0]: Invalid enum value 'Read'",
    f"{TOKEN}buckets = {{B = []}}": f"tokens.ci.buckets: 'B' {NO_BUCKET_NAME}",
    f"{TOKEN}buckets = {{'**' = []}}": f"tokens.ci.buckets: '**' {NO_BUCKET_NAME}",
    f"{TOKEN}buckets = {{}}\nexpires = '2027-03-01'": f"tokens.ci.expires: {NO_DATE}",
    f"{TOKEN}buckets = {{}}\nexpires = 12:00:00": f"tokens.ci.expires: {NO_DATE}",
    f"{TOKEN}buckets = {{}}\nexpires = 1800000000": f"tokens.ci.expires: {NO_DATE}",
    f"{TOKEN}buckets = {{}}\n[tokens.b]\nsha256 = '{A.upper()}'\nbuckets = {{}}": (
        "tokens.b.sha256: it is that of tokens.ci; make another secret"
    ),
    "[tokens.'-a']": f"tokens: '-a' {NO_TOKEN_NAME}",
    "[tokens.'']": f"tokens: '' {NO_TOKEN_NAME}",
    '[tokens."a\\n"]': f"tokens: 'a\\n' {NO_TOKEN_NAME}",
    f"[tokens.{'x' * 65}]": f"tokens: '{'x' * 65}' {NO_TOKEN_NAME}",
    "[buckets.'*']": f"buckets: '*' {NO_BUCKET_NAME}",
    "[buckets.-a]": f"buckets: '-a' {NO_BUCKET_NAME}",
    "[buckets.é]".replace("é", "'é'"): f"buckets: 'é' {NO_BUCKET_NAME}",
    "[buckets.b]\nQuota = 5": "buckets.b.Quota: unknown key",
    "[buckets.b]\nquota = 0": "buckets.b.quota: Expected `int` >= 1",
    "[buckets.b]\nquota = 9223372036854775808": "buckets.b.quota: Expected `int` <= 9223372036854775807",
    "[buckets.b]\nquota = 1.5": "buckets.b.quota: Expected `int | str`, got `float`",
    "[buckets.b]\nquota = true": "buckets.b.quota: Expected `int | str`, got `bool`",
    "[buckets.b]\nquota = '5G'": "buckets.b.quota: '5G' is not a size; write it like 5GiB, 500MB or 1048576",
    "[buckets.b]\nmax_files = '5'": "buckets.b.max_files: Expected `int`, got `str`",
    "[buckets.b]\nexpire = 30": "buckets.b.expire: Expected `str`, got `int`",
    "[buckets.b]\nexpire = '30'": (
        "buckets.b.expire: '30' is not a duration; write it like 30 days, 12h or 10 min"
    ),
    "[buckets.b]\npublic = ['all']": "buckets.b.public[0]: Invalid enum value 'all'",
    "[buckets.b]\ncors = 'https://a'": "buckets.b.cors: Expected `array`, got `str`",
    "[buckets.b]\ncors = ['*']": f"buckets.b.cors: '*' {NO_ORIGIN}",
    "[buckets.b]\ncors = ['https://a/']": f"buckets.b.cors: 'https://a/' {NO_ORIGIN}",
}


@pytest.mark.parametrize("text", ERRORS)
def test_error_names_its_key(text):
    with pytest.raises(AccessFileError) as caught:
        AccessRules.parse(text)
    assert ERRORS[text] == str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET} = 1",
        f"[tokens.'{SECRET} ']",
        f"[tokens.ci]\nsha256 = '{SECRET}'\nbuckets = {{}}",
        f"[tokens.ci]\nsecret = '{SECRET}'\nsha256 = '{A}'",
        f"{TOKEN}{SECRET} = 1\nbuckets = {{}}",
        f"{TOKEN}buckets = {{b = ['{SECRET}']}}",
        f"{TOKEN}buckets = {{{SECRET} = []}}",
        f"[buckets.b]\nquota = '{SECRET}'",
        f"[buckets.b]\nexpire = '{A}'",
        f"[buckets.b]\ncors = ['https://{SECRET}/']",
        f"{SECRET} = 1\n{SECRET} = 2",
        f"[tokens.ci]\nsha256 = {A}",
        f"[tokens.ci]\nsha256 = '{A}\\\n",
    ],
)
def test_error_shows_neither_a_secret_nor_its_hash(text):
    with pytest.raises(AccessFileError) as caught:
        AccessRules.parse(text)
    assert SECRET[4:] not in str(caught.value)
    assert A not in str(caught.value)


@given(st.text(max_size=60))
@example("a = " + "[" * 5000)
@example("a = " + "1" * 5000)
@example(f"tokens.{'a' * 5000} = 1")
@example('[tokens.ci]\n"a\\nb" = 1')
@example("\ud800")
def test_any_text_is_read_or_is_one_line(text):
    try:
        AccessRules.parse(text)
    except AccessFileError as error:
        assert 1 == len(str(error).splitlines())  # noqa: PT017  # either is right, depending on the text
        assert len(str(error)) <= 500  # noqa: PT017


ORIGINS = {
    "https://app.example": "https://app.example",
    "HTTPS://APP.Example": "https://app.example",
    "https://app.example:443": "https://app.example",
    "http://app.example:80": "http://app.example",
    "http://app.example:443": "http://app.example:443",
    "http://localhost:08000": "http://localhost:8000",
    "http://[::1]:8000": "http://[::1]:8000",
    "moz-extension://b0a1-c2": "moz-extension://b0a1-c2",
}
NO_ORIGINS = [
    "", "*", "null", "app.example", "//app.example", "https://", "https://*.example", "https://a/",
    "https://a/b", "https://a?b", "https://a#b", "https://u@a", "https://a:", "https://a:0",
    "https://a:65536", "https://a b", "https://é.example", "https://a\n", " https://a", "https://[::1", "https://a.",
]  # fmt: skip


@pytest.mark.parametrize("text", ORIGINS)
def test_origin_is_in_the_form_of_browsers(text):
    assert ORIGINS[text] == parse_origin(text)


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_text_of_another_form_is_no_origin(text):
    with pytest.raises(ValueError):
        parse_origin(text)
