"""Conformance of a running daemon to its OpenAPI document: schemathesis makes valid and invalid requests.

Whatever it asks, no answer may be a 5xx, or one that the document does not foresee: its status, media
type, fields and form. The last test removes a promise from the document, and must then fail.
"""

import hashlib
import json
import os
import subprocess
import sys
import urllib.request

import pytest
import requests

from filestored.access.tokens import make_secret, sha256_of

MAX_SECONDS = 240
"""Seconds that a run may take on a busy machine."""

pytestmark = pytest.mark.timeout(MAX_SECONDS + 30)

SCHEMATHESIS = os.path.join(os.path.dirname(sys.executable), "schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)
DOT = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")
"""A GIF of one white pixel."""

SECRET = make_secret()
AUTHORIZATION = {"Authorization": f"Bearer {SECRET}"}
ACCESS = f"""
[tokens.all]
sha256 = "{sha256_of(SECRET).hex()}"
[tokens.all.buckets]
"*" = ["read", "write", "delete", "list"]
[buckets.builds]
quota = "1 GiB"
public = ["read"]
"""
HELLO = hashlib.sha256(b"hello").hexdigest()

ALL_PHASES = "examples,coverage,fuzzing"
OTHER_PHASES = ALL_PHASES if "FILESTORED_DEEP" in os.environ else "examples,fuzzing"
"""Phases for other media types, which change errors and pages only; all in a long proof."""

EXAMPLES = 12
"""Requests that are made up for each operation, beside those that follow from the document."""


def run(directory, daemon, *options, document="openapi.json", accept="*/*", known=None, phases=ALL_PHASES):
    """Run schemathesis; `known` are values for parameters, by place and name."""
    config = os.path.join(directory, "schemathesis.toml")
    with open(config, "w", encoding="utf-8") as file:
        file.write("[parameters]\n")
        file.writelines(
            f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in (known or {}).items()
        )
    where = document if os.path.isabs(document) else daemon.url + document
    line = [SCHEMATHESIS, "--config-file", config, "run", where, "--url", daemon.url, "--no-color"]
    line += ["--phases", phases, "--max-examples", str(EXAMPLES), "--seed", "1"]
    line += ["--checks", ",".join(CHECKS), "--warnings", "off", "--header", f"Accept: {accept}", *options]
    return subprocess.run(
        line, cwd=directory, capture_output=True, text=True, check=False, timeout=MAX_SECONDS
    )


def assert_agrees(outcome, daemon):
    assert 0 == outcome.returncode, outcome.stdout[-6000:] + outcome.stderr[-2000:]
    assert "Traceback" not in daemon.log


@pytest.fixture
def daemon(start_daemon):
    """A daemon that lists its files to all clients."""
    return start_daemon("--workers", "1", "--open")


def test_responses_conform_to_the_document(tmp_path, daemon):
    assert_agrees(run(tmp_path, daemon, "--exclude-tag", "buckets"), daemon)


@pytest.mark.parametrize("accept", ["application/json", "text/html,*/*;q=0.8"])
def test_responses_in_another_media_type_conform_to_the_document(tmp_path, daemon, accept):
    only = ("--exclude-tag", "images", "--exclude-tag", "buckets")
    assert_agrees(run(tmp_path, daemon, *only, accept=accept, phases=OTHER_PHASES), daemon)


@pytest.fixture
def guarded(start_daemon, tmp_path):
    """A daemon with an access file, and a file in the bucket ``builds``."""
    access = tmp_path / "access.toml"
    access.write_text(ACCESS)
    access.chmod(0o600)
    running = start_daemon("--workers", "1", "--access", str(access))
    requests.post(f"{running.url}buckets/builds/", b"hello", headers=AUTHORIZATION).raise_for_status()
    return running


def test_responses_to_a_token_conform_to_the_document(tmp_path, guarded):
    fields = [f"--header={name}: {value}" for name, value in AUTHORIZATION.items()]
    known = {"path.bucket": "builds", "path.hash": HELLO}
    only = ("--include-tag", "buckets", "--exclude-method", "DELETE")
    assert_agrees(run(tmp_path, guarded, *only, *fields, accept="application/json", known=known), guarded)


def test_responses_without_credentials_conform_to_the_document(tmp_path, guarded):
    assert_agrees(
        run(tmp_path, guarded, "--include-tag", "buckets", known={"path.bucket": "builds"}), guarded
    )
    assert (
        requests.get(f"{guarded.url}buckets/builds/files/{HELLO}", headers=AUTHORIZATION).content == b"hello"
    )


def test_responses_for_a_stored_file_conform_to_the_document(tmp_path, daemon):
    with urllib.request.urlopen(daemon.url, b"hello") as answer:
        name = answer.read().decode()
    known = {"path.hash": name, "query.file_hash": name}
    outcome = run(tmp_path, daemon, "--exclude-method", "DELETE", "--include-tag", "files", known=known)
    assert_agrees(outcome, daemon)


def test_responses_for_an_image_conform_to_the_document(tmp_path, daemon):
    api = f"{daemon.url}imageapi/"
    token = requests.get(f"{api}generate-token/marta/").json()["token"]
    image = {"file": ("dot.gif", DOT, "image/gif")}
    identity = requests.post(f"{api}token/{token}/upload-image/", files=image).json()["File ID"]
    known = {"path.token": token, "path.id": identity, "path.username": "marta"}
    keeping = ("--exclude-method", "DELETE", "--exclude-operation-id", "regenerate_token")
    assert_agrees(run(tmp_path, daemon, "--include-tag", "images", *keeping, known=known), daemon)
    assert requests.get(f"{api}token/{token}/get-image/{identity}/").content == DOT


def test_nonconforming_response_is_detected(tmp_path, daemon):
    with urllib.request.urlopen(f"{daemon.url}openapi.json") as answer:
        document = json.load(answer)
    del document["paths"]["/files/{hash}"]["delete"]["responses"]["404"]
    document["components"]["schemas"]["Health"]["properties"]["status"] = {"enum": ["splendid"]}
    changed = os.path.join(tmp_path, "changed.json")
    with open(changed, "w", encoding="utf-8") as file:
        json.dump(document, file)
    only = ("--include-operation-id", "delete", "--include-operation-id", "health")
    outcome = run(tmp_path, daemon, *only, document=changed)
    assert 1 == outcome.returncode
    assert "DELETE /files/{hash}" in outcome.stdout
    assert "GET /health" in outcome.stdout
