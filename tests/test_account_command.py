"""``filestored account``, as an operator runs it, beside a real daemon and without one."""

import json
import os
import re
import shutil
import stat
import tempfile
from glob import glob

import pytest
import requests

from filestored import account_admin
from filestored.errors import UnusableStore
from filestored.images import directory as image_directory
from tests.balanced_daemons import IMAGES, start_on_engine
from tests.command_line import run_as_another_user, run_filestored
from tests.daemon_process import TIMEOUT
from tests.images.image_client import Client, png
from tests.seaweedfs import NEEDS

NOBODY = 65534


def account(*words, images):
    return run_filestored("account", *words, "--images", str(images))


@pytest.fixture
def images(start_daemon, tmp_path):
    """The images directory of a daemon with two workers that gives out no token over HTTP."""
    running = start_daemon("--workers", "2", "--no-registration")
    return running, tmp_path / "images"


def test_account_created_by_the_command_works_at_once(images):
    running, directory = images
    done = account("add", "anna", images=directory)
    assert (0, "") == (done.returncode, done.stderr)
    assert re.fullmatch(r"[A-Za-z0-9_-]{10}\n", done.stdout)
    token = done.stdout.strip()
    for _ in range(4):
        answer = requests.get(f"{running.url}imageapi/token/{token}/get-image-list/", timeout=TIMEOUT)
        assert (200, {}) == (answer.status_code, answer.json())
    assert done.stdout == account("token", "anna", images=directory).stdout
    assert "anna\n" == account("list", images=directory).stdout


def status(client, path):
    """The status of a GET with the token of a client, each time on a connection of its own."""
    return client.call("GET", path).status_code


def test_deleted_account_is_gone_at_once_for_all_workers_and_other_accounts_keep_theirs(images):
    running, directory = images
    anna, bert = (
        Client.of(running, account("add", name, images=directory).stdout.strip()) for name in ("anna", "bert")
    )
    identity, other = (client.upload("cat.png", png()).json()["File ID"] for client in (anna, bert))
    paths = ["get-image-list/", f"get-image/{identity}/", f"get-image/{identity}/?width=5"]
    for _ in range(4):
        assert {200} == {status(anna, path) for path in paths}
    done = account("delete", "anna", images=directory)
    assert (0, "the account anna and its images are deleted\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    for _ in range(4):
        assert {401} == {status(anna, path) for path in paths}
        assert png() == bert.call("GET", f"get-image/{other}/").content
    blobs = [name for shard in glob(f"{directory}/blobs/[0-9a-f][0-9a-f]") for name in os.listdir(shard)]
    assert (1, []) == (len(blobs), os.listdir(f"{directory}/thumbnails"))
    assert "bert\n" == account("list", images=directory).stdout
    again = Client.of(running, account("add", "anna", images=directory).stdout.strip())
    assert anna.token != again.token
    assert {} == again.list_images()
    assert 404 == status(again, f"get-image/{identity}/")
    assert 201 == again.upload("cat.png", png()).status_code


@pytest.fixture
def prepared(tmp_path):
    """An images directory without a daemon, with the account anna."""
    directory = str(tmp_path / "images")
    image_directory.prepare(directory)
    account_admin.add(directory, "anna")
    return directory


def test_json_output_is_one_document(prepared):
    added = json.loads(account("add", "bert", "--json", images=prepared).stdout)
    assert {"account": "bert", "token": account_admin.token(prepared, "bert")} == added
    assert added == json.loads(account("token", "bert", "--json", images=prepared).stdout)
    listed = json.loads(account("list", "--json", images=prepared).stdout)
    assert {"accounts": ["anna", "bert"]} == listed


def test_an_account_made_over_http_is_known_to_the_command(start_daemon, tmp_path):
    running = start_daemon("--workers", "1")
    made = requests.get(f"{running.url}imageapi/generate-token/anna/", timeout=TIMEOUT).json()["token"]
    assert f"{made}\n" == account("token", "anna", images=tmp_path / "images").stdout
    renewed = requests.post(f"{running.url}imageapi/token/{made}/regenerate-token/", timeout=TIMEOUT).json()
    running.end()
    assert f"{renewed['token']}\n" == account("token", "anna", images=tmp_path / "images").stdout


def test_no_registration_refuses_both_calls(images):
    running, directory = images
    account("add", "anna", images=directory)
    for call in ("generate-token/bert", "retrieve-token/anna"):
        assert 403 == requests.get(f"{running.url}imageapi/{call}/", timeout=TIMEOUT).status_code
    assert "anna\n" == account("list", images=directory).stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["add", "anna"], "User exists"),
        (["token", "bert"], "User does not exist"),
        (["add", "../x"], "A user name has 1 to 64 letters A to Z, a to z, digits and underscores"),
        (["token", "../x"], "User does not exist"),
        (["delete", "bert"], "User does not exist"),
        (["delete", "../x"], "User does not exist"),
    ],
)
def test_a_refused_command_is_one_line(prepared, words, reason):
    done = account(*words, images=prepared)
    assert (1, "", f"filestored: {reason}\n") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("record", [b"", b"[]", b"{}", b"5"])
def test_a_damaged_account_is_listed_and_reported_in_one_line(prepared, record):
    path = f"{prepared}/accounts/anna/account"
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(record)
    assert ["anna"] == account_admin.names(prepared)
    for command in (account_admin.token, account_admin.delete):
        with pytest.raises(UnusableStore, match="the record of anna is damaged; restore it from a copy"):
            command(prepared, "anna")


def test_a_directory_without_a_format_is_refused_and_left_alone(tmp_path):
    for directory in (tmp_path, tmp_path / "absent"):
        done = account("list", images=directory)
        expected = f"{directory} is not the --images directory of a daemon; name that with --images"
        assert (1, "", f"filestored: {expected}\n") == (done.returncode, done.stdout, done.stderr)
    assert [] == os.listdir(tmp_path)


@pytest.fixture
def engine(prefix, monkeypatch):
    """A prefix of an object store, whose credentials the command reads from the environment."""
    for name, value in prefix.server.environment.items():
        monkeypatch.setenv(name, value)
    return prefix


@NEEDS
def test_accounts_in_an_object_store_work_at_once(engine, tmp_path):
    started = []
    running = start_on_engine(engine, str(tmp_path), started, "--workers", "1", "--no-registration")
    try:
        images = engine.below(IMAGES).url
        done = account("add", "anna", images=images)
        assert (0, "") == (done.returncode, done.stderr)
        address = f"{running.url}imageapi/token/{done.stdout.strip()}/get-image-list/"
        assert {} == requests.get(address, timeout=TIMEOUT).json()
        assert done.stdout == account("token", "anna", images=images).stdout
        assert "anna\n" == account("list", images=images).stdout
        anna = Client.of(running, done.stdout.strip())
        assert 201 == anna.upload("cat.png", png()).status_code
        assert 0 == account("delete", "anna", images=images).returncode
        assert 401 == status(anna, "get-image-list/")
        assert "" == account("list", images=images).stdout
        assert [] == [name for name in engine.below(IMAGES).names() if re.match("blobs/[0-9a-f]{2}/", name)]
        again = Client.of(running, account("add", "anna", images=images).stdout.strip())
        assert {} == again.list_images()
    finally:
        running.end()


@NEEDS
def test_an_object_store_without_images_is_refused_and_left_alone(engine):
    expected = f"the object store {engine.url} cannot be used: it is not the --images of a daemon"
    for _ in range(2):
        done = account("add", "anna", images=engine.url)
        assert (1, "") == (done.returncode, done.stdout)
        assert f"filestored: {expected}; name that with --images\n" == done.stderr
    assert [] == engine.names()


def test_a_store_of_files_is_refused(start_daemon):
    running = start_daemon("--workers", "1")
    done = account("list", images=running.store)
    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n")


@pytest.fixture
def owned(start_daemon, tmp_path):
    """The images directory of a daemon that has ended, owned by another user where root runs the tests."""
    start_daemon("--workers", "1").end()
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        directory = os.path.join(parent, "images")
        shutil.copytree(tmp_path / "images", directory)
        if os.geteuid() == 0:
            for place, _, files in os.walk(directory):
                for path in [place, *(os.path.join(place, name) for name in files)]:
                    os.chown(path, NOBODY, NOBODY)
        yield directory


def test_records_made_by_root_belong_to_the_owner_of_the_directory(owned):
    done = account("add", "anna", images=owned)
    assert (0, "") == (done.returncode, done.stderr)
    owner = os.stat(owned).st_uid
    made = [os.path.join(owned, "accounts", "anna"), os.path.join(owned, "accounts", "anna", "account")]
    assert [owner] * 2 == [os.stat(path).st_uid for path in made]
    assert [0o700, 0o400] == [stat.S_IMODE(os.stat(path).st_mode) for path in made]


def test_another_user_is_refused_with_one_line(owned):
    target = owned if os.geteuid() == 0 else "/etc"
    done = run_as_another_user("account", "list", "--images", target)
    assert (1, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert done.stderr.startswith(f"filestored: the directory {target} cannot be used: ")
