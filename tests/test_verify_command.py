"""``filestored verify``, as an operator runs it, beside real daemons."""

import fcntl
import hashlib
import json
import os
import pty
import random
import signal
import subprocess
import sys

import pytest
import requests

from filestored.cli import main
from filestored.storage.disk.layout import prepare
from filestored.storage.verification.state import parse
from tests.command_line import run_filestored
from tests.daemon_process import ROOT, TIMEOUT, until
from tests.seaweedfs import NEEDS
from tests.storage.maintenance.stores import store_of_another_user
from tests.storage.verification.verified_stores import overwrite

FILES, FLIPPED = 2000, 100

ALL_NUMBERS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM]
NUMBERS = ALL_NUMBERS if "FILESTORED_DEEP" in os.environ else ALL_NUMBERS[:1]


def make_store(path, count, size=40):
    """Make a store of small files without a daemon; return their names."""
    prepare(path, "sha256")
    found = []
    for number in range(count):
        data = random.Random(number).randbytes(size + number % 100)
        name = hashlib.sha256(data).hexdigest()
        with open(f"{path}/{name[:2]}/{name}", "wb") as file:
            file.write(data)
        found.append(name)
    return found


def path_of(store, name):
    return f"{store}/{name[:2]}/{name}"


def flip(store, name, bit=0):
    """Change one bit of a stored file."""
    path = path_of(store, name)
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    overwrite(path, bytes(data))


def complaints(names):
    reason = "its bytes do not have the sha256 of its name"
    return {f"filestored: {name} is corrupt: {reason}; it is in quarantine" for name in names}


def without_outcome(text):
    """Return the lines of findings as they are named again after an interruption."""
    return {line.removesuffix("; it is in quarantine") for line in text.splitlines()}


@pytest.fixture
def store(tmp_path):
    """The path of a new store."""
    return str(tmp_path / "store")


@pytest.mark.slow
def test_100_flipped_files_of_2000_are_named_moved_and_healed_by_uploads(start_daemon, tmp_path, store):
    names = make_store(store, FILES)
    contents = {number: random.Random(number).randbytes(40 + number % 100) for number in range(0, FILES, 20)}
    daemon = start_daemon("--workers", "2")
    with requests.Session() as session:
        for name in names[:40:20] * 3:
            assert 200 == session.get(f"{daemon.url}files/{name}", timeout=TIMEOUT).status_code
        for number in contents:
            flip(store, names[number], number)
        done = run_filestored("verify", store)
        assert (3, complaints(names[number] for number in contents)) == (
            done.returncode,
            set(done.stderr.splitlines()),
        )
        assert done.stdout == f"{store}: {FILES} files ({_size(names)}) verified, 100 corrupt, 0 unreadable\n"
        answers = [session.get(f"{daemon.url}files/{names[number]}", timeout=TIMEOUT) for number in contents]
        assert {404} == {answer.status_code for answer in answers}
        for number, data in contents.items():
            assert names[number] == session.post(daemon.url, data=data, timeout=TIMEOUT).text
            assert data == session.get(f"{daemon.url}files/{names[number]}", timeout=TIMEOUT).content
    again = run_filestored("verify", store)
    assert (0, "") == (again.returncode, again.stderr)


def _size(names):
    from filestored.settings import format_size

    return format_size(sum(40 + number % 100 for number in range(len(names))))


def test_intact_store_is_one_line_and_status_0(store):
    make_store(store, 1)
    done = run_filestored("verify", store)
    expected = f"{store}: 1 file (40 B) verified, 0 corrupt, 0 unreadable\n"
    assert (0, expected, "") == (done.returncode, done.stdout, done.stderr)


def test_young_files_are_left_out(store):
    names = make_store(store, 3)
    os.utime(path_of(store, names[0]), (0, 0))
    flip(store, names[0])
    flip(store, names[1])
    done = run_filestored("verify", store, "--older-than", "30d")
    assert (3, complaints(names[:1])) == (done.returncode, set(done.stderr.splitlines()))


def test_second_process_fails_with_one_line(store):
    make_store(store, 1)
    with open(f"{store}/FORMAT") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_filestored("verify", store)
    assert (1, f"filestored: another process verifies {store}\n") == (done.returncode, done.stderr)


def test_directory_without_a_store_fails_as_other_commands_do(tmp_path):
    place = str(tmp_path)
    reason = "there is no FORMAT; name the --store of a daemon"
    for command in ("verify", "stat"):
        done = run_filestored(command, place)
        expected = (1, "", f"filestored: the store {place} cannot be used: {reason}\n")
        assert expected == (done.returncode, done.stdout, done.stderr)


def test_state_made_by_root_belongs_to_the_owner_of_the_store():
    with store_of_another_user([b"one"]) as path:
        done = run_filestored("verify", path)
        assert (0, "") == (done.returncode, done.stderr)
        assert os.stat(path).st_uid == os.stat(f"{path}/.verification").st_uid


def test_bucket_that_cannot_be_read_is_not_left_out():
    with store_of_another_user([b"one"]) as path:
        bucket = f"{path}/buckets/builds"
        os.makedirs(bucket, mode=0o000)
        done = run_filestored("verify", path)
        os.chmod(bucket, 0o700)
    expected = f"filestored: the store {path} cannot be used: Permission denied"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr.partition(";")[0])


def test_link_in_place_of_a_bucket_is_left_out(store, tmp_path):
    make_store(store, 1)
    make_store(str(tmp_path / "other"), 2)
    os.mkdir(f"{store}/buckets")
    os.symlink(tmp_path / "other", f"{store}/buckets/builds")
    for words in (("verify", store, "--json"), ("stat", store, "--json")):
        done = run_filestored(*words)
        assert (0, 1, "") == (done.returncode, json.loads(done.stdout)["files"], done.stderr)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("store", "--rate", "fast"), "'fast' is not a rate; write it like 100MiB/s"),
        (("store", "--older-than", "30"), "'30' is not a duration"),
        (("s3://",), "'s3://' names no bucket; write it like s3://bucket/prefix"),
        ((), "STORE"),
    ],
)
def test_invalid_arguments_are_refused(words, complaint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", *words])
    assert (2, True) == (ended.value.code, complaint in capsys.readouterr().err)


def test_missing_package_for_object_stores_is_one_line():
    code = "import sys; sys.modules['obstore'] = None; from filestored.cli import main; sys.exit(main())"
    done = run_filestored("verify", "s3://bucket/prefix", program=("-c", code))
    expected = "filestored: object stores need the package obstore: in the checkout run pip install '.[s3]'\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)


# --- interruptions ------------------------------------------------------------------------------------------


def start_slowly(store, rate="100KiB/s", environment=None):
    """Start a verification that takes a minute, or more."""
    return subprocess.Popen(
        [sys.executable, "-m", "filestored.cli", "verify", store, "--rate", rate],
        env={**os.environ, "PYTHONPATH": ROOT, **(environment or {})},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def begun_pass(store):
    """Return the unfinished pass that is recorded, or None."""
    try:
        with open(f"{store}/.verification", "rb") as file:
            return parse(file.read()).find(None)
    except FileNotFoundError:
        return None


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.slow
def test_interrupted_verification_continues_with_its_findings(store, number):
    names = sorted(make_store(store, 1500))
    flip(store, names[5])
    flip(store, names[1490])
    process = start_slowly(store)
    until(lambda: (found := begun_pass(store)) and found.corrupt.count, "the first file was found")
    process.send_signal(number)
    _, errors = process.communicate(timeout=TIMEOUT)
    (first,) = complaints([names[5]])
    if number == signal.SIGKILL:
        assert (-9, True) == (process.returncode, errors in ("", f"{first}\n"))
    else:
        rest = "filestored: interrupted; run the same command again to continue\n"
        assert (130, f"{first}\n{rest}") == (process.returncode, errors)
    assert begun_pass(store).files >= 5
    done = run_filestored("verify", store, "--json")
    read = json.loads(done.stdout)["files"]
    assert (3, True) == (done.returncode, read in ({1499, 1500} if number == signal.SIGKILL else {1500}))
    assert without_outcome("\n".join(complaints([names[5], names[1490]]))) == without_outcome(done.stderr)
    assert begun_pass(store) is None


@pytest.mark.slow
def test_interrupted_verification_begins_anew_with_restart(store):
    names = sorted(make_store(store, 300))
    flip(store, names[5])
    process = start_slowly(store)
    until(lambda: (found := begun_pass(store)) and found.corrupt.count, "the first file was found")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert 130 == process.returncode
    assert errors.endswith("filestored: interrupted; run the same command again to continue\n")
    done = run_filestored("verify", store, "--restart", "--json")
    assert (0, 299) == (done.returncode, json.loads(done.stdout)["files"])


# --- output -------------------------------------------------------------------------------------------------


def test_progress_bar_is_drawn_on_a_terminal(store):
    names = make_store(store, 3)
    flip(store, names[1])
    ours, theirs = pty.openpty()
    try:
        done = run_filestored("verify", store, capture_output=False, stdout=subprocess.PIPE, stderr=theirs)
        drawn = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (3, True, True) == (done.returncode, "3/3" in drawn, names[1] in drawn)


# --- images -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_images_are_compared_with_the_hash_of_their_content(start_daemon, tmp_path):
    daemon = start_daemon("--workers", "1")
    images = os.path.join(daemon.directory, "images")
    blobs = os.path.join(images, "blobs")
    from tests.daemon.test_corrupt_files import picture

    with requests.Session() as session:
        token = session.get(f"{daemon.url}imageapi/generate-token/anna/", timeout=TIMEOUT).json()["token"]
        address = f"{daemon.url}imageapi/token/{token}/upload-image/"
        for kind in ("PNG", "BMP"):
            session.post(address, files={"image": (kind, picture(kind))}, timeout=TIMEOUT).raise_for_status()
    paths = [f"{where}/{name}" for where, _, found in os.walk(blobs) for name in found if len(name) == 96]
    flip(blobs, os.path.basename(paths[0]), 3000)
    done = run_filestored("verify", images, "--json")
    found = json.loads(done.stdout)
    assert (3, 2, [os.path.basename(paths[0])]) == (
        done.returncode,
        found["files"],
        [*found["corrupt_files"]],
    )
    assert [False, True] == [os.path.exists(path) for path in paths]


# --- object stores ------------------------------------------------------------------------------------------


@NEEDS
@pytest.mark.slow
def test_object_store_is_verified_beside_daemons_by_one_process_at_a_time(start_daemon, prefix):
    environment = prefix.server.environment
    words = ("--workers", "1", "--store", prefix.url)
    daemon = start_daemon(*words, environment=environment)
    contents = [random.Random(number).randbytes(3000) for number in range(40)]
    with requests.Session() as session:
        names = [session.post(daemon.url, data=each, timeout=TIMEOUT).text for each in contents]
        changed = bytes([contents[7][0] ^ 1]) + contents[7][1:]
        prefix.write(f"{names[7][:2]}/{names[7]}", changed)
        process = start_slowly(prefix.url, "10KiB/s", environment)
        until(lambda: ".verification" in prefix.names(), "it has begun")
        refused = run_filestored("verify", prefix.url, environment=environment)
        assert (1, 1) == (refused.returncode, refused.stderr.count("\n"))
        assert "another process verifies s3://" in refused.stderr
        process.send_signal(signal.SIGINT)
        assert 130 == process.wait(TIMEOUT)
        process.communicate()
        done = run_filestored("verify", prefix.url, "--json", environment=environment)
        found = json.loads(done.stdout)
        assert (3, 40, [names[7]]) == (done.returncode, found["files"], [*found["corrupt_files"]])
        address = f"{daemon.url}files/{names[7]}"
        assert 404 == session.get(address, timeout=TIMEOUT).status_code
        assert names[7] == session.post(daemon.url, data=contents[7], timeout=TIMEOUT).text
        assert contents[7] == session.get(address, timeout=TIMEOUT).content
    assert 2 == sum(name.startswith("quarantine/") for name in prefix.names())


def test_verify_without_the_package_of_object_stores_names_the_extra(tmp_path):
    (tmp_path / "obstore").mkdir()
    (tmp_path / "obstore" / "__init__.py").write_text('raise ModuleNotFoundError("gone", name="obstore")\n')
    done = run_filestored(
        "verify", "s3://bucket/store", environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    )
    expected = "filestored: object stores need the package obstore: in the checkout run pip install '.[s3]'\n"
    assert (1, "", expected) == (done.returncode, done.stdout, done.stderr)
