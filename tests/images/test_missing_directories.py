"""Directories that are missing for a while: nothing is deleted, and all is there when they are back."""

import json
import os
import shutil

import pytest

from filestored.errors import NotFound, UnusableStore
from filestored.images import directory as image_directory
from filestored.images.orphans.cleaner import MAX_ORPHANS
from tests.daemon_process import read, until
from tests.images.catalog_samples import BMP, PNG
from tests.images.image_fixture import ImageFixture, done
from tests.images.missing_directories import LATER, api, fill, home_of, missing, swept
from tests.storage.contract import watched
from tests.wall_clock import WallClock

# --- a real daemon -----------------------------------------------------------------------------------


@pytest.fixture
def later(tmp_path):
    """Settings of a daemon whose clock is ahead."""
    with WallClock(str(tmp_path), LATER) as clock:
        yield {"environment": clock.environment}


@pytest.mark.needs("faketime")
@pytest.mark.parametrize(("name", "each"), [("accounts", 20), ("accounts/anna", 3)])
def test_directory_moved_away_and_back_keeps_images_and_tokens(later, start_daemon, name, each):
    daemon = start_daemon("--workers", "2")
    filled = fill(daemon, each=each)
    daemon.end()
    place, aside = os.path.join(home_of(daemon), name), os.path.join(daemon.directory, "aside")
    os.rename(place, aside)
    without = start_daemon("--workers", "2", **later)
    assert 401 == api(without, f"token/{filled['anna'][0]}/get-image-list").status_code
    swept(without)
    without.end()
    os.rename(aside, place)
    again = start_daemon("--workers", "2", **later)
    swept(again)
    assert [] == missing(again, filled)


@pytest.mark.needs("faketime")
def test_symbolic_link_as_account_is_refused_and_loses_nothing(later, start_daemon):
    daemon = start_daemon("--workers", "1")
    filled = fill(daemon, each=2)
    daemon.end()
    place, elsewhere = os.path.join(home_of(daemon), "accounts/anna"), os.path.join(daemon.directory, "disk")
    shutil.move(place, elsewhere)
    os.symlink(elsewhere, place)
    linked = start_daemon("--workers", "1", **later)
    swept(linked)
    assert 401 == api(linked, f"token/{filled['anna'][0]}/get-image-list").status_code
    assert "cannot be read: accounts/anna (it has no account record)" in linked.log
    linked.end()
    os.unlink(place)
    shutil.move(elsewhere, place)
    again = start_daemon("--workers", "1", **later)
    swept(again)
    assert [] == missing(again, filled)


def test_orphan_cleaner_restores_lost_token_records(start_daemon):
    daemon = start_daemon("--workers", "1")
    filled = fill(daemon, each=1)
    daemon.end()
    shutil.rmtree(os.path.join(home_of(daemon), "tokens"))
    again = start_daemon("--workers", "1")
    swept(again)
    assert [] == missing(again, filled)


def test_token_record_is_restored_before_the_token_is_returned(start_daemon):
    daemon = start_daemon("--workers", "2")
    filled = fill(daemon, each=1)
    shutil.rmtree(os.path.join(home_of(daemon), "tokens"))
    assert 401 == api(daemon, f"token/{filled['anna'][0]}/get-image-list").status_code
    for user, (token, _) in filled.items():
        assert {user: token} == api(daemon, f"retrieve-token/{user}").json()
    assert [] == missing(daemon, filled)


@pytest.mark.needs("faketime")
def test_orphans_are_moved_to_quarantine_and_back(later, start_daemon):
    daemon = start_daemon("--workers", "1")
    filled = fill(daemon, each=2)
    daemon.end()
    record = os.path.join(home_of(daemon), "accounts", "anna", "images")
    aside = os.path.join(daemon.directory, "images-of-anna")
    shutil.move(record, aside)
    without = start_daemon("--workers", "2", **later)
    swept(without)
    quarantine = os.path.join(home_of(daemon), "blobs", "quarantine")
    assert 2 == len([name for name in os.listdir(quarantine) if name.endswith(".orphan")])
    told = "2 files that no image refers to were moved to blobs/quarantine/"
    until(lambda: told in without.log, "the move is logged")
    shutil.rmtree(record, ignore_errors=True)
    shutil.move(aside, record)
    assert [] == missing(without, filled)
    assert [] == os.listdir(quarantine)


# --- each directory in turn, and half of them ----------------------------------------------------------

IMAGES = {**{f"{number}.png": PNG + b"%d" % number for number in range(8)}, "x.bmp": BMP}
USERS = ("anna", "bert", "carl")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A place with accounts that have images, and the tokens by their users."""
    place = str(tmp_path_factory.mktemp("original") / "images")
    fixture = ImageFixture(place)
    tokens = {user: done(fixture.image_store.register(user)) for user in USERS}
    for token in tokens.values():
        for name, data in IMAGES.items():
            fixture.put(token, name, data)
    fixture.close()
    return place, tokens


@pytest.fixture
def filled(place, original):
    """The tokens of the accounts at `place`, which is a copy of the original."""
    shutil.copytree(original[0], place)
    return original[1]


def check(place, tokens):
    fixture = ImageFixture(place)
    for user, token in tokens.items():
        assert user == fixture.accounts.authenticate(token).name
        assert IMAGES == {name: data for name, (_, data) in fixture.contents(user).items()}
    fixture.close()


def sweep(place):
    """Start, and sweep."""
    image_directory.prepare(place)
    fixture = ImageFixture(place)
    swept = fixture.sweep()
    fixture.close()
    return swept


def some_below(directory, share):
    """Part of what is below a directory."""
    names = sorted(os.listdir(directory))
    return [os.path.join(directory, name) for name in names[: int(len(names) * share)]]


@pytest.mark.parametrize("share", [1, 0.5])
@pytest.mark.parametrize(
    "directory",
    [
        *("accounts", "accounts/anna", "accounts/anna/images", "accounts/anna/names", "tokens", "blobs"),
        *("blobs/00", "blobs/7f", "blobs/quarantine"),
    ],
)
def test_nothing_missing_during_orphan_removal_is_lost(place, filled, directory, share):
    aside = place + ".aside"
    os.mkdir(aside)
    path = os.path.join(place, directory)
    taken = [path] if share == 1 else some_below(path, share)
    for number, each in enumerate(taken):
        os.rename(each, os.path.join(aside, str(number)))
    for _ in range(2):
        sweep(place)
    for number, each in enumerate(taken):
        put_back(os.path.join(aside, str(number)), each)
    check(place, filled)
    assert 0 == sweep(place).moved
    check(place, filled)


def put_back(source, target):
    """As rsync does: what is there stays beside what comes back, of files the one that comes back."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(source):
            put_back(os.path.join(source, name), os.path.join(target, name))
    else:
        os.rename(source, target)


def test_no_orphan_is_moved_without_accounts(place, filled):
    shutil.rmtree(place + "/accounts")
    swept = sweep(place)
    assert (0, "there are 27 files but no accounts; restore accounts/ from a copy") == (
        swept.moved,
        swept.refusal,
    )


def test_orphan_cleaner_moves_few_files_but_no_large_share(place, filled):
    fixture = ImageFixture(place)
    for number in range(MAX_ORPHANS + 1):
        upload = fixture.store.upload()
        upload.write(b"orphan %d" % number)
        orphan = done(upload.commit()).digest
    assert f"no image refers to {MAX_ORPHANS + 1} of {27 + MAX_ORPHANS + 1} files" in fixture.sweep().refusal
    fixture.blobs.delete(orphan)
    assert (0, None) == (fixture.sweep(later=0).moved, fixture.sweep(later=0).refusal), "they are young"
    assert (0, None) == (fixture.sweep(later=-(10**6)).moved, None), "they are of the future"
    assert (MAX_ORPHANS, None) == ((swept := fixture.sweep()).moved, swept.refusal)
    fixture.check()
    fixture.close()


@pytest.mark.parametrize("name", ["accounts", "anna", "images", "names"])
def test_no_orphan_is_moved_when_a_directory_is_unreadable(place, filled, name):
    """As for a daemon that is not root, and a directory whose mode is 0."""

    def refuse(call, args):
        if call == "open" and args[0] == name:
            raise PermissionError(13, "Permission denied")

    fixture = ImageFixture(place, watched(refuse))
    swept = fixture.sweep()
    assert 0 == swept.moved
    assert "Permission denied)" in swept.refusal
    fixture.close()
    check(place, filled)


def test_no_orphan_is_moved_when_a_record_is_damaged(place, filled):
    folder = place + "/accounts/anna/images/"
    record = folder + os.listdir(folder)[0]
    os.chmod(record, 0o600)
    whole = json.loads(read(record))
    for damage in ([], 5, {}, {**whole, "blob": "x"}, {**whole, "blob": 5}):
        with open(record, "w") as file:
            json.dump(damage, file)
        assert "accounts/anna (a record is damaged)" in sweep(place).refusal
        assert [] == os.listdir(place + "/blobs/quarantine")


@pytest.mark.parametrize("kept", ["accounts", "tokens"])
def test_key_is_not_created_next_to_accounts_or_tokens(place, filled, kept):
    os.unlink(place + "/KEY")
    for name in {"accounts", "tokens"} - {kept}:
        shutil.rmtree(f"{place}/{name}")
    with pytest.raises(UnusableStore, match="restore"):
        ImageFixture(place)
    assert not os.path.exists(place + "/KEY")


def test_key_is_not_created_when_the_only_account_is_a_symbolic_link(place, filled, tmp_path):
    os.unlink(place + "/KEY")
    shutil.rmtree(place + "/tokens")
    shutil.rmtree(place + "/accounts")
    os.mkdir(place + "/accounts")
    os.symlink(tmp_path, place + "/accounts/anna")
    with pytest.raises(UnusableStore, match="restore"):
        ImageFixture(place)


# --- tokens ------------------------------------------------------------------------------------------


def test_wrong_token_record_is_replaced(place, filled):
    fixture = ImageFixture(place)
    lookup = fixture.accounts._token_record(filled["anna"])
    fixture.records.replace(lookup, b"anna\n", b"bert\n")
    assert filled["anna"] == done(fixture.image_store.get_token("anna"))
    assert "anna" == fixture.accounts.authenticate(filled["anna"]).name
    assert b"anna\n" == fixture.records.read(lookup)
    fixture.close()


def test_token_record_is_not_restored_without_an_account(place, filled):
    fixture = ImageFixture(place)
    with pytest.raises(NotFound):
        fixture.accounts.restore_token("dora")
    assert 3 == len(fixture.records.names("tokens"))
    fixture.close()
