"""The programs that people use, against a real daemon: uploads of every spelling, downloads that go on."""

import hashlib
import json
import os
import subprocess

import pytest

from tests.tools import find_tool

CONTENT = os.urandom(3 << 20) + b"the end"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
BROKEN_OFF = 1_234_567


@pytest.fixture
def run(daemon, tmp_path):
    """Run a command in a directory with a file ``x``; URL stands for the daemon, H for the file's hash."""
    (tmp_path / "x").write_bytes(CONTENT)

    def run(line, **options):
        words = [word.replace("URL/", daemon.url).replace("H", DIGEST, "/H" in word) for word in line.split()]
        words[0] = find_tool(words[0])
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, timeout=60, check=False, **options)
        assert 0 == done.returncode, done.stderr.decode()
        return done.stdout.decode().strip()

    return run


@pytest.fixture
def stored(daemon, run):
    """The file is stored."""
    assert DIGEST == run("curl -sS -f -F file=@x URL/")


CURL = "curl -sS --fail-with-body"
UPLOADS = [
    f"{CURL} -F file=@x URL/",
    f"{CURL} -F note=first -F file=@x;type=text/plain;filename=y URL/",
    f"{CURL} --data-binary @x URL/",
    f"{CURL} -H Expect:100-continue --data-binary @x URL/",
    f"{CURL} -T x URL/files/H",
    f"{CURL} --http1.0 --data-binary @x URL/",
]


@pytest.mark.needs("curl")
@pytest.mark.parametrize("line", UPLOADS)
def test_curl_uploads(run, daemon, line):
    assert DIGEST == run(line)
    assert CONTENT == stored_bytes(daemon)


@pytest.mark.needs("curl")
@pytest.mark.parametrize("line", [f"{CURL} -X POST -T - URL/", f"{CURL} -T - URL/files/H"])
def test_curl_uploads_from_a_pipe(run, daemon, line):
    assert DIGEST == run(line, input=CONTENT)
    assert CONTENT == stored_bytes(daemon)


@pytest.mark.needs("curl")
def test_curl_goes_on_where_it_broke_off(run, stored, tmp_path):
    (tmp_path / "part").write_bytes(CONTENT[:BROKEN_OFF])
    run(f"{CURL} -C - -o part URL/files/H")
    assert CONTENT == (tmp_path / "part").read_bytes()


@pytest.mark.needs("curl")
def test_curl_fetches_only_what_is_new(run, stored, tmp_path):
    run(f"{CURL} --etag-save tag -o got URL/files/H")
    assert "304" == run(f"{CURL} --etag-compare tag -o got -w %{{http_code}} URL/files/H")
    assert CONTENT == (tmp_path / "got").read_bytes()


@pytest.mark.needs("curl")
@pytest.mark.needs("wget")
def test_wget_goes_on_where_it_broke_off(run, stored, tmp_path):
    (tmp_path / "part").write_bytes(CONTENT[:BROKEN_OFF])
    run("wget -q -c -O part URL/files/H")
    assert CONTENT == (tmp_path / "part").read_bytes()


@pytest.mark.needs("curl")
@pytest.mark.needs("wget")
def test_wget_takes_the_name_it_is_offered(run, stored, tmp_path):
    run("wget -q --content-disposition URL/files/H?name=named.bin")
    assert CONTENT == (tmp_path / "named.bin").read_bytes()


@pytest.mark.needs("wget")
def test_wget_posts_a_file(run):
    assert DIGEST == run("wget -q -O - --header Content-Type:application/octet-stream --post-file x URL/")


@pytest.mark.needs("curl")
@pytest.mark.needs("aria2c")
def test_aria2_fetches_with_eight_connections(run, stored, tmp_path):
    run("aria2c -q -x8 -s8 -k1M --file-allocation=none -o got URL/files/H")
    assert CONTENT == (tmp_path / "got").read_bytes()


@pytest.mark.needs("http")
def test_httpie_uploads_a_form(run, daemon):
    assert DIGEST == run("http --ignore-stdin -b -f POST URL/ file@x")
    assert CONTENT == stored_bytes(daemon)


@pytest.mark.needs("http")
def test_httpie_uploads_from_a_pipe_and_is_answered_in_json(run, daemon):
    assert DIGEST == json.loads(run("http -b POST URL/", input=CONTENT))["hash"]
    assert CONTENT == stored_bytes(daemon)


@pytest.mark.needs("curl")
@pytest.mark.needs("http")
def test_httpie_goes_on_where_it_broke_off(run, stored, tmp_path):
    (tmp_path / "part").write_bytes(CONTENT[:BROKEN_OFF])
    run("http --ignore-stdin -q -d -c -o part GET URL/files/H")
    assert CONTENT == (tmp_path / "part").read_bytes()


def stored_bytes(daemon):
    with open(os.path.join(daemon.store, DIGEST[:2], DIGEST), "rb") as file:
        return file.read()
