"""``filestored ls``, as an operator runs it on the store itself."""

import json
import os
import subprocess
import sys

import pytest

from filestored.cli import main
from filestored.commands.store import ls
from filestored.errors import EngineError
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, TIMEOUT
from tests.seaweedfs import NEEDS
from tests.storage.maintenance.stores import make_store, path_of

COUNT = 2500
"""Files of the large store: more than two pages have."""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A store with many files, of which only one has content, and their names."""
    path = str(tmp_path_factory.mktemp("many") / "store")
    names = {*make_store(path, [b"content"])}
    for number in range(1, COUNT):
        name = f"{number * 7919 % 65536:04x}{number:060x}"
        os.close(os.open(path_of(path, name), os.O_WRONLY | os.O_CREAT, 0o440))
        names.add(name)
    return path, sorted(names)


@pytest.fixture
def few(tmp_path):
    """A store with five files, and their names."""
    path = str(tmp_path / "store")
    return path, make_store(path, [b"x" * size for size in range(5)])


@pytest.fixture
def printed(capsys):
    """A function that runs the command in this process, and returns the lines that it prints."""

    def run(*words, status=0):
        assert status == main(["ls", *words])
        output = capsys.readouterr()
        assert (status == 0) == (output.err == "")
        return (output.err or output.out).splitlines()

    return run


def test_ls_prints_all_hashes_in_order(many, printed):
    path, names = many
    assert names == printed(path)


@pytest.mark.parametrize("limit", [1, 3, 999, 1000, 1001, COUNT - 1, COUNT, COUNT + 1])
def test_ls_prints_pages_of_any_size(many, printed, limit):
    path, names = many
    found, after = [], "0"
    for _ in range(3):
        page = printed(path, "--limit", str(limit), "--after", after)
        found += page
        after = page[-1] if page else after
    assert names[: 3 * limit] == found


def test_ls_begins_after_a_hash_or_at_its_first_digits(few, printed):
    path, names = few
    assert names[2:] == printed(path, "--after", names[1])
    assert names[2:] == printed(path, "--after", names[1].upper())
    assert names[1:] == printed(path, "--after", names[1][:6])
    assert [] == printed(path, "--after", "f" * 64)


def test_ls_prints_documents_with_the_fields_of_the_listing(few, printed):
    path, names = few
    os.utime(path_of(path, names[0]), (0, 1767225599.9))
    found = [json.loads(line) for line in printed(path, "--json")]
    assert names == [each["hash"] for each in found]
    assert {0, 1, 2, 3, 4} == {each["size"] for each in found}
    assert {"hash", "size", "modified"} == found[0].keys()
    assert "2025-12-31T23:59:59Z" == found[0]["modified"]


def test_ls_prints_hash_time_and_size(few, printed):
    path, names = few
    os.utime(path_of(path, names[0]), (0, 0))
    size = os.stat(path_of(path, names[0])).st_size
    lines = printed(path, "--long")
    assert f"{names[0]}  1970-01-01T00:00:00Z  {size}" == lines[0]
    assert names == [line.split("  ")[0] for line in lines]


def test_ls_leaves_out_what_is_no_file_of_the_store(few, printed):
    path, names = few
    os.unlink(path_of(path, names[0]))
    os.mkdir(path_of(path, names[0]))
    os.symlink(path_of(path, names[2]), path_of(path, "0" * 64))
    for foreign in (f"{path}/00/{'f' * 64}", f"{path}/00/notes", f"{path}/notes"):
        with open(foreign, "w") as file:
            file.write("foreign")
    assert names[1:] == printed(path)


def test_ls_lists_one_bucket(few, printed):
    path, names = few
    builds = make_store(f"{path}/buckets/builds", [b"in a bucket"])
    assert builds == printed(path, "--bucket", "builds")
    assert names == printed(path) == printed(path, "--bucket", "default")
    assert [f"filestored: the store {path} has no bucket other"] == printed(
        path, "--bucket", "other", status=1
    )


def test_ls_changes_nothing(few, printed):
    path, _ = few
    before = sorted((where, *names) for where, _, names in os.walk(path))
    printed(path)
    assert before == sorted((where, *names) for where, _, names in os.walk(path))


@pytest.mark.parametrize("case", ["missing", "file"])
def test_ls_refuses_what_is_no_store(tmp_path, printed, case):
    place = tmp_path / case
    if case == "file":
        place.write_text("file")
    reason = "there is no FORMAT; name the --store of a daemon"
    assert [f"filestored: the store {place} cannot be used: {reason}"] == printed(str(place), status=1)


def test_ls_refuses_a_malformed_hash_in_one_line(few, printed):
    (line,) = printed(few[0], "--after", "xyz", status=1)
    assert line.startswith("filestored: xyz00")
    assert line.endswith(" is no hash here: a sha256 digest has 64 hexadecimal digits")


@pytest.mark.parametrize(
    "words", [("--limit", "0"), ("--limit", "x"), ("--bucket", "../x"), ("--long", "--json")]
)
def test_ls_refuses_wrong_arguments(few, words):
    with pytest.raises(SystemExit) as error:
        main(["ls", few[0], *words])
    assert 2 == error.value.code


def test_ls_ends_quietly_when_its_reader_ends(many):
    path, names = many
    environment = {**os.environ, "PYTHONPATH": ROOT}
    words = [sys.executable, "-m", "filestored.cli", "ls", path, "--json"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment, bufsize=0, **pipe) as command:
        assert names[0] == json.loads(command.stdout.readline())["hash"]
        command.stdout.close()
        assert (0, b"") == (command.wait(TIMEOUT), command.stderr.read())


@pytest.mark.needs("strace")
def test_ls_of_an_unreadable_directory_fails_with_one_line(few):
    path, names = few
    shard = os.path.dirname(path_of(path, names[0]))
    fault = ("strace", "-f", "-qq", "-o", os.devnull, "-P", shard, "-e", "inject=getdents64:error=EIO")
    done = run_filestored("ls", path, wrap=fault)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert "Input/output error" in done.stderr


def test_failure_of_an_object_store_is_named_with_its_reason(few, printed, monkeypatch):
    def fail(place):
        raise EngineError("s3://bucket: it answered 500")

    monkeypatch.setattr(ls, "open_store", fail)
    assert ["filestored: s3://bucket: it answered 500"] == printed(few[0], status=1)


@NEEDS
def test_object_store_that_does_not_answer_is_one_line(prefix):
    environment = {**prefix.server.environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    done = run_filestored("ls", "s3://bucket/store", environment=environment)
    expected = "filestored: the object store cannot be used: s3://bucket/store: it does not answer"
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(expected)


@NEEDS
def test_ls_of_an_object_store(start_daemon, prefix):
    import requests

    environment = prefix.server.environment
    running = start_daemon("--workers", "1", "--store", prefix.url, environment=environment)
    names = sorted(requests.post(running.url, data=b"%d" % n, timeout=TIMEOUT).text for n in range(3))
    done = run_filestored("ls", prefix.url, environment=environment)
    assert (0, "", names) == (done.returncode, done.stderr, done.stdout.split())
    done = run_filestored("rm", prefix.url, names[0], "0" * 64, environment=environment)
    assert (1, "", f"filestored: {'0' * 64} is not stored\n") == (done.returncode, done.stdout, done.stderr)
    assert 404 == requests.get(f"{running.url}files/{names[0]}", timeout=TIMEOUT).status_code
    done = run_filestored("ls", prefix.url, "--after", names[1], environment=environment)
    assert names[2:] == done.stdout.split()
