"""Wrong configurations of an object store: one line on stderr, status 1, soon; secrets are in no text."""

import os
import shlex
import socket

import pytest
import requests

from tests.balanced_daemons import start_on_engine
from tests.daemon_process import ROOT, TIMEOUT, assert_one_line, children, read, run
from tests.images.image_client import Client, png
from tests.seaweedfs import ACCESS_KEY, BUCKET, LIMITED_ACCESS_KEY, NEEDS, SECRET_KEY

pytestmark = pytest.mark.slow

BOTH_WAYS = pytest.mark.parametrize("twistd", [(), ("-n",)], ids=["daemonised", "foreground"])
FOREGROUND = pytest.mark.parametrize("twistd", [("-n",)], ids=["foreground"])

WRONG_URLS = {
    # options of filestored, and a pattern of the line
    "an unknown scheme": (
        "--store ftp://bucket/prefix",
        "--store: .*ftp://.* schemes s3://, gs:// and az://",
    ),
    "a scheme in capitals": ("--images S3://bucket/prefix", "--images: .*S3://"),
    "no bucket": ("--store s3://", "--store: .*names no bucket; write it like s3://bucket/prefix"),
    "no bucket before the prefix": ("--store s3:///prefix", "--store: .*names no bucket"),
    "a way up": ("--store s3://bucket/../other", "--store: .*prefix"),
    "a query": ("--store s3://bucket/prefix?x=1", "--store: .*prefix"),
    "a user": ("--store s3://key:secret@bucket/prefix", "--store: "),
    "one place for both": (
        "--store s3://bucket/a --images s3://bucket/a",
        "--store and --images .* name two",
    ),
    "images inside the store": ("--store s3://bucket/a --images s3://bucket/a/b", "inside .*; name two"),
    "no timeout": ("--store s3://bucket/a --engine-timeout never", "--engine-timeout: "),
    "a timeout of zero": ("--store s3://bucket/a --engine-timeout 0", "--engine-timeout: .* from 1 to"),
    "no spool": ("--store s3://bucket/a --spool ''", "--spool: a path is needed"),
}


@FOREGROUND
@pytest.mark.parametrize("name", WRONG_URLS)
def test_wrong_url_is_one_line(tmp_path, twistd, name):
    options, pattern = WRONG_URLS[name]
    words = [*twistd, "filestored", "--listen", "tcp:0:interface=127.0.0.1", *shlex.split(options)]
    assert_one_line(run(*words, cwd=str(tmp_path)), pattern)
    assert [] == os.listdir(tmp_path)


@BOTH_WAYS
def test_missing_package_is_one_line_that_names_the_extra(tmp_path, twistd):
    (tmp_path / "obstore").mkdir()
    (tmp_path / "obstore" / "__init__.py").write_text('raise ModuleNotFoundError("gone", name="obstore")\n')
    words = [*twistd, "filestored", "--listen", "tcp:0:interface=127.0.0.1", "--store", "s3://bucket/a"]
    done = run(*words, cwd=str(tmp_path), environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"})
    assert_one_line(done, r"object stores need the package obstore: .*pip install '\.\[s3\]'")


@pytest.fixture
def silent():
    """The URL of a listener that never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def refuse(seaweedfs, prefix, tmp_path):
    """A function that starts a daemon with other options or variables than those of SeaweedFS; it refuses."""
    (tmp_path / "run").mkdir()

    def refuse(twistd, pattern, *options, **changes):
        store = () if "--store" in options else ("--store", prefix.url)
        words = [*twistd, "filestored", "--listen", "tcp:0:interface=127.0.0.1", *store, *options]
        environment = {**seaweedfs.environment, **changes}
        done = run(*words, cwd=str(tmp_path / "run"), environment=environment)
        assert_one_line(done, pattern)
        assert SECRET_KEY not in done.stderr
        assert [] == [name for name in os.listdir(tmp_path / "run") if name != "images"]

    return refuse


@NEEDS
@BOTH_WAYS
def test_endpoint_that_refuses_connections_is_one_line(refuse, twistd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refuse(twistd, "does not answer", AWS_ENDPOINT_URL=endpoint)


@NEEDS
@FOREGROUND
def test_endpoint_that_is_silent_is_one_line(refuse, silent, twistd):
    refuse(twistd, "does not answer|did not answer", AWS_ENDPOINT_URL=silent)


@NEEDS
@FOREGROUND
def test_endpoint_without_an_address_is_one_line(refuse, twistd):
    refuse(twistd, "does not answer|did not answer", AWS_ENDPOINT_URL="http://nowhere.invalid:8333")


ENDPOINTS = [
    "nonsense",
    "127.0.0.1:8333",
    "s3://127.0.0.1:8333",
    "http://",
    "http:///",
    "http://a b",
    "http://ä",
]
ENDPOINTS += ["http://127.0.0.1:99999", "http://127.0.0.1:0", "http://key:secret@127.0.0.1:8333"]


@NEEDS
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoint_that_is_no_url_is_one_line(refuse, endpoint):
    refuse(("-n",), "AWS_ENDPOINT_URL is not a URL: write it like https://", AWS_ENDPOINT_URL=endpoint)


@NEEDS
def test_endpoint_may_end_in_a_slash(prefix, tmp_path):
    environment = {"AWS_ENDPOINT_URL": f"{prefix.server.endpoint}/"}
    running = start_on_engine(prefix, str(tmp_path), [], "--workers", "1", environment=environment)
    running.end()
    assert "FORMAT" in prefix.below("files").names()


@NEEDS
@FOREGROUND
@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_one_line(refuse, twistd, variable):
    refuse(twistd, "refuses the credentials", **{variable: "wrong"})


@NEEDS
def test_missing_credentials_are_one_line(refuse):
    refuse(("-n",), "object store", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")


@NEEDS
def test_credentials_in_a_missing_file_are_one_line(refuse):
    changes = {"AWS_SECRET_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY_FILE": "/no/such/file"}
    refuse(("-n",), "/no/such/file cannot be read", **changes)


@NEEDS
@FOREGROUND
@pytest.mark.parametrize("option", ["--store", "--images"])
def test_missing_bucket_is_one_line(refuse, twistd, option):
    pattern = "bucket no-such-bucket does not exist; create it"
    refuse(twistd, pattern, option, "s3://no-such-bucket/prefix", AWS_ACCESS_KEY_ID=LIMITED_ACCESS_KEY)


@NEEDS
def test_prefix_of_other_objects_is_one_line(refuse, prefix):
    prefix.write("report.pdf", b"of another program")
    refuse(("-n",), "report.pdf, but no FORMAT; name another prefix")
    assert ["report.pdf"] == prefix.names()


@NEEDS
def test_format_that_cannot_be_read_is_one_line(refuse, prefix):
    prefix.write("FORMAT", b"{")
    refuse(("-n",), "FORMAT file cannot be read; restore it")


@NEEDS
def test_store_and_images_in_the_place_of_each_other_are_one_line(refuse, prefix):
    prefix.write("FORMAT", b'{"format": 1, "hash": "images", "id": "x"}')
    refuse(("-n",), "unknown hash algorithm")
    prefix.write("FORMAT", b'{"format": 1, "hash": "sha256", "id": "x"}')
    refuse(("-n",), "a store of files .*not a place for images", "--store", "store", "--images", prefix.url)


@NEEDS
def test_hash_of_another_store_is_one_line(refuse, prefix):
    prefix.write("FORMAT", b'{"format": 1, "hash": "md5", "id": "x"}')
    refuse(("-n",), "named by md5, not by sha256 as --hash asks", "--hash", "sha256")


@NEEDS
@pytest.mark.parametrize("spool", ["no/such/directory", "/proc"])
def test_spool_that_takes_no_file_is_one_line(refuse, spool):
    refuse(("-n",), "--spool: .*; name another directory", "--spool", spool)


# --- secrets -----------------------------------------------------------------------------------------


@NEEDS
@pytest.mark.parametrize("kept", ["variable", "file", "credential"])
def test_secrets_are_in_no_argument_and_no_log(prefix, tmp_path, kept):
    """However they are given; also when they have become wrong while the daemon runs."""
    (tmp_path / "secrets").mkdir()
    path = tmp_path / "secrets" / "AWS_SECRET_ACCESS_KEY"
    path.write_text(f"{SECRET_KEY}\n")
    environment = {
        "variable": {},
        "file": {"AWS_SECRET_ACCESS_KEY": "", "AWS_SECRET_ACCESS_KEY_FILE": str(path)},
        "credential": {"AWS_SECRET_ACCESS_KEY": "", "CREDENTIALS_DIRECTORY": str(path.parent)},
    }[kept]
    options = ["--workers", "2", "--log-level", "debug", "--access-log", "-"]
    directory = str(tmp_path / "daemon")
    running = start_on_engine(prefix, directory, [], *options, environment=environment)
    try:
        client = Client(running)
        assert 201 == client.upload("cat.png", png()).status_code
        for pid in [running.pid, *children(running.pid)]:
            assert SECRET_KEY not in read(f"/proc/{pid}/cmdline")
        assert SECRET_KEY not in running.log
    finally:
        running.end()


@NEEDS
def test_log_of_a_failing_engine_names_no_secret(prefix, tmp_path):
    """Errors of the engine hold its answers, which repeat the access key."""
    directory = str(tmp_path / "daemon")
    running = start_on_engine(prefix, directory, [], "--workers", "1", "--log-level", "debug")
    try:
        prefix.below("files").delete("FORMAT")
        answer = requests.get(f"{running.url}files/{'0' * 64}", timeout=TIMEOUT)
        assert 503 == answer.status_code
        assert ACCESS_KEY not in running.log + answer.text
        assert f"{BUCKET}/" not in answer.text
    finally:
        running.end()
