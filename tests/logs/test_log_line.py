"""Events become lines that hide secrets and cannot be forged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from filestored.logs.log_line import LogLine, from_event, sanitize
from filestored.logs.redaction import redact

SECRETS = [
    "GET /imageapi/token/s3cr3tT0k3/get-image-list/",
    "/token/s3cr3tT0k3",
    "/%74oken/s3cr3tT0k3/",
    "/%54OKEN%2fs3cr3tT0k3/x",
    "/a/token/s3cr3tT0k3?x=1 and /token/s3cr3tT0k3/ again",
    "Authorization: Bearer s3cr3tT0k3",
    "authorization:Basic s3cr3tT0k3",
    "{b'Authorization': [b'Basic s3cr3tT0k3']}",
    "Proxy-Authorization: Digest a=b, c=s3cr3tT0k3",
]


@pytest.mark.parametrize("text", SECRETS)
def test_secret_is_redacted(text):
    assert "s3cr3tT0k3" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize(
    "text", ["GET /files/abc", "/tokens/abc/", "the token is bad", "not authorized", "/token/"]
)
def test_text_without_secrets_is_unchanged(text):
    assert text == redact(text)


def test_redact_is_idempotent():
    assert redact("/token/abc/x") == redact(redact("/token/abc/x"))


def test_a_line_feed_cannot_begin_a_new_line():
    assert "a\n    2026 | CRITICAL" == sanitize("a\n2026 | CRITICAL")


@given(st.text())
def test_control_characters_are_escaped(text):
    shown = sanitize(text)
    assert not [letter for letter in shown if letter != "\n" and (letter < " " or "\x7f" <= letter < "\xa0")]
    assert all(line.startswith("    ") for line in shown.split("\n")[1:])


def event(**fields):
    return {"log_format": "{text}", "log_namespace": "here", "log_level": LogLevel.warn, **fields}


def test_an_event_becomes_a_line():
    line = from_event(event(text="a {brace} in it"))
    assert ("WARNING", "here", "a {brace} in it") == (line.level, line.source, line.text)


def test_a_failure_comes_with_its_traceback_but_without_variables():
    def fails(password):
        raise RuntimeError("no")

    try:
        fails(SECRETS[0])
    except RuntimeError:
        line = from_event(event(text="oh", log_failure=Failure()))
    assert "RuntimeError: no" in line.text
    assert "in fails" in line.text
    assert "s3cr3tT0k3" not in line.text


def test_legacy_event_becomes_a_line():
    line = from_event({"message": ("a", "b"), "isError": 0, "log_format": "{log_text}", "log_text": "a b"})
    assert ("INFO", "a b") == (line.level, line.text)


def test_line_round_trips_through_json():
    line = LogLine("INFO", "here", 7, 'ä\n    {b} \\ "quoted"')
    written = line.to_json()
    assert line == LogLine(**json.loads(written))
    assert 1 == written.count(b"\n")
