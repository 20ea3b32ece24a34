"""Migration of a store: new names, corrupt files, refused stores, aliases, later operations."""

import errno
import os
import stat
from collections.abc import Callable

import pytest
from zope.interface.verify import verifyObject

from filestored.digest import Digest
from filestored.errors import Collision, MalformedDigest, UnknownAlgorithm, UnusableStore
from filestored.interfaces import IAliases, IStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, check, prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.migration import migrate as migration
from filestored.storage.migration.migrate import Summary, abandon, migrate
from tests.storage.contract import HELLO, MD5, digest_of, files_below, outcome, read, send, watched
from tests.storage.md5_collision import COLLIDING
from tests.storage.migration.migrating import (
    CONTENTS,
    SHA256,
    SHA512,
    UNFLUSHED,
    ProgressRecorder,
    content,
    fill,
    move,
    name_of,
    path_of,
    record,
    spoil,
)
from tests.storage.special_files import plant

# --- names -----------------------------------------------------------------------------------


def test_migrated_files_have_only_new_names_in_the_shards(place):
    fill(place)
    assert move(place) == Summary(len(CONTENTS))
    expected = [f"{digest.shard}/{digest}" for digest in (digest_of(data, SHA256) for data in CONTENTS)]
    assert sorted([*expected, "aliases/md5"]) == files_below(place)


def test_migrated_file_keeps_its_inode(place):
    fill(place)
    before = os.stat(path_of(place, digest_of(CONTENTS[0])))
    move(place)
    after = os.stat(path_of(place, digest_of(CONTENTS[0], SHA256)))
    assert os.path.samestat(before, after)
    assert (1, stat.S_IFREG | 0o440) == (after.st_nlink, after.st_mode)


def test_format_after_migration_has_both_algorithms_and_the_same_id(place):
    fill(place)
    before = record(place)
    move(place)
    assert record(place) == {**before, "format": 2, "hash": "sha256", "aliases": ["md5"]}
    assert (SHA256, SHA256) == (check(place), check(place, "sha256"))


@pytest.mark.parametrize("own", [MD5, SHA256])
def test_migrated_store_returns_files_by_both_names(place, open_store, own):
    fill(place)
    move(place)
    store = open_store()
    assert list(CONTENTS) == [content(store, name_of(data, own)) for data in CONTENTS]
    assert content(store, name_of(b"never stored", own)) is None


def test_blob_keeps_the_requested_digest(place, open_store):
    fill(place)
    move(place)
    store = open_store()
    blob = outcome(store.open(store.parse(name_of(CONTENTS[0]))))
    blob.close()
    assert blob.digest == digest_of(CONTENTS[0])


def test_only_new_names_are_listed(place, open_store):
    fill(place)
    move(place)
    expected = sorted((digest_of(data, SHA256) for data in CONTENTS), key=str)
    assert expected == outcome(open_store().digests())


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "0" * 40, "0" * 63, "A" * 32, "G" * 64, "../../FORMAT"]
)
def test_name_of_neither_algorithm_is_malformed(place, open_store, text):
    fill(place)
    move(place)
    with pytest.raises(MalformedDigest):
        open_store().parse(text)


def test_store_without_migration_knows_only_its_own_names(place, open_store):
    fill(place)
    with pytest.raises(MalformedDigest):
        open_store().parse(name_of(HELLO, SHA256))


def test_store_migrated_twice_resolves_all_names(place, open_store):
    fill(place)
    move(place)
    fill(place, [b"later"], SHA256)
    assert move(place, "sha512") == Summary(len(CONTENTS) + 1)
    assert ("sha512", ["md5", "sha256"]) == (record(place)["hash"], record(place)["aliases"])
    store = open_store()
    for own in (MD5, SHA256, SHA512):
        assert list(CONTENTS) == [content(store, name_of(data, own)) for data in CONTENTS]
    answers = [content(store, name_of(b"later", own)) for own in (MD5, SHA256, SHA512)]
    assert [None, b"later", b"later"] == answers


def test_empty_store_is_migrated(place, open_store):
    prepare(place, "md5")
    assert move(place) == Summary()
    store = open_store()
    assert ("sha256", None) == (store.algorithm.name, content(store, name_of(HELLO)))


def test_migrated_store_is_unchanged_by_a_second_run(place):
    fill(place)
    move(place)
    before = (record(place), files_below(place))
    assert move(place) == Summary()
    assert before == (record(place), files_below(place))


def test_objects_provide_their_interfaces(place, open_store):
    fill(place)
    move(place)
    disk = DiskBackend(place, SHA256)
    assert verifyObject(IAliases, disk)
    assert verifyObject(IStore, open_store())
    disk.close()


# --- operations after a migration ------------------------------------------------------------


def test_upload_after_migration_gets_only_a_new_name(place, open_store):
    fill(place)
    move(place)
    store = open_store()
    stored = outcome(send(store, HELLO))
    assert (digest_of(HELLO, SHA256), True) == (stored.digest, stored.created)
    assert (HELLO, None) == (content(store, name_of(HELLO, SHA256)), content(store, name_of(HELLO)))


def test_upload_of_a_migrated_file_is_not_created(place, open_store):
    fill(place)
    move(place)
    assert not outcome(send(open_store(), CONTENTS[0])).created


@pytest.mark.parametrize("own", [MD5, SHA256])
def test_delete_by_one_name_removes_both(place, open_store, own):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    assert [True, False] == [outcome(store.delete(digest_of(data, own))) for _ in range(2)]
    assert [None, None] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]
    assert outcome(store.delete(digest_of(b"never stored", own))) is False
    assert not any(os.path.exists(path_of(place, digest_of(data, each))) for each in (MD5, SHA256))


def test_deleted_file_uploaded_again_has_both_names(place, open_store):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    outcome(store.delete(digest_of(data)))
    outcome(send(store, data))
    assert [data, data] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]


def test_upload_repairs_a_corrupt_file_under_both_names(place, open_store):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    spoil(place, digest_of(data, SHA256))
    assert outcome(send(store, data)).created
    assert [data, data] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]


def test_colliding_upload_is_refused_before_migration(place, open_store):
    fill(place, [COLLIDING[0]])
    assert isinstance(outcome(send(open_store(), COLLIDING[1])), Collision)


def test_former_name_resolves_to_its_first_file_after_a_collision(place, open_store):
    fill(place, [COLLIDING[0]])
    move(place)
    store = open_store()
    assert outcome(send(store, COLLIDING[1])).created
    assert list(COLLIDING) == [content(store, name_of(data, SHA256)) for data in COLLIDING]
    assert COLLIDING[0] == content(store, name_of(COLLIDING[1]))


# --- corrupt and unreadable files ------------------------------------------------------------


def test_corrupt_file_is_quarantined_and_others_are_migrated(place, open_store):
    fill(place)
    spoil(place, digest_of(CONTENTS[3]))
    summary = move(place)
    assert Summary(len(CONTENTS) - 1, (digest_of(CONTENTS[3]),)) == summary
    kept, reason = sorted(os.listdir(place + "/quarantine"))
    with open(f"{place}/quarantine/{kept}") as file, open(f"{place}/quarantine/{reason}") as why:
        assert ("corrupt", "its bytes do not have the md5 of its name\n") == (file.read(), why.read())
    store = open_store()
    assert [None, None] == [content(store, name_of(CONTENTS[3], own)) for own in (MD5, SHA256)]
    assert CONTENTS[4] == content(store, name_of(CONTENTS[4]))


def test_store_with_only_corrupt_files_is_migrated(place, open_store):
    fill(place, CONTENTS[:3])
    for data in CONTENTS[:3]:
        spoil(place, digest_of(data))
    names = sorted((digest_of(data) for data in CONTENTS[:3]), key=str)
    assert move(place) == Summary(0, tuple(names))
    assert outcome(open_store().digests()) == []


def failing(name: Digest, call: str, code: int) -> Syscalls:
    """Return calls of which one fails for one file."""

    def fail(called, args):
        target = os.readlink(f"/proc/self/fd/{args[0]}") if called == "pread" else str(args[:1])
        if called == call and name.hex in target:
            raise OSError(code, os.strerror(code))

    return watched(fail, UNFLUSHED)


@pytest.mark.parametrize(
    ("call", "code"),
    [("pread", errno.EIO), ("pread", errno.EBADMSG), ("open", errno.EIO), ("open", errno.EACCES)],
)
def test_unreadable_file_keeps_its_former_name_and_others_are_migrated(place, open_store, call, code):
    fill(place)
    bad, data = digest_of(CONTENTS[3]), CONTENTS[3]
    assert move(place, calls=failing(bad, call, code)) == Summary(len(CONTENTS) - 1, (), (bad,))
    assert [] == os.listdir(place + "/quarantine")
    store = open_store()
    expected = [None if each == data else each for each in CONTENTS]
    assert list(CONTENTS) == [content(store, name_of(each)) for each in CONTENTS]
    assert expected == [content(store, name_of(each, SHA256)) for each in CONTENTS]
    assert outcome(send(store, data)).created
    assert data == content(store, name_of(data, SHA256))
    assert outcome(store.delete(bad))
    assert content(store, name_of(data)) is None


def test_unreadable_file_keeps_its_former_name_in_the_next_migration(place, open_store):
    fill(place)
    bad = digest_of(CONTENTS[3])
    move(place, calls=failing(bad, "pread", errno.EIO))
    assert move(place, "sha512") == Summary(len(CONTENTS) - 1)
    store = open_store()
    assert list(CONTENTS) == [content(store, name_of(each)) for each in CONTENTS]


def test_file_that_cannot_be_linked_keeps_its_former_name(place, open_store):
    fill(place, [HELLO])

    def refuse(name, args):
        if name == "link" and args[1] == name_of(HELLO, SHA256):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    assert move(place, calls=watched(refuse, UNFLUSHED)) == Summary(0, (), (digest_of(HELLO),))
    assert content(open_store(), name_of(HELLO)) == HELLO


def test_many_unreadable_files_in_a_row_end_the_run(place, monkeypatch):
    monkeypatch.setattr(migration, "MAX_UNREADABLE_IN_A_ROW", 4)
    fill(place)

    def fail(name, args):
        if name == "pread" and args[1] == 1024 * 1024:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    pattern = r"4 files in a row cannot be read, such as [0-9a-f]{2}/[0-9a-f]{32}: Input/output error; "
    with pytest.raises(UnusableStore, match=pattern):
        move(place, calls=watched(fail, UNFLUSHED))
    assert [] == os.listdir(place + "/quarantine")
    assert move(place) == Summary(len(CONTENTS))


@pytest.mark.parametrize("kind", ["gone", "symlink", "fifo", "directory"])
def test_file_removed_or_replaced_after_listing_is_skipped(place, kind):
    fill(place)
    path = path_of(place, digest_of(CONTENTS[3]))

    def replace(name, args):
        if name == "open" and args[0] == digest_of(CONTENTS[3]).hex and os.path.isfile(path):
            os.unlink(path)
            if kind != "gone":
                plant(kind, path)

    assert move(place, calls=watched(replace, UNFLUSHED)) == Summary(len(CONTENTS) - 1)
    assert [] == os.listdir(place + "/quarantine")


def test_unreadable_shard_ends_the_run_which_can_be_abandoned(place):
    fill(place, [HELLO])

    def fail(name, args):
        if name == "scandir" and os.readlink(f"/proc/self/fd/{args[0]}").endswith("/5d"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls = watched(fail, UNFLUSHED)
    with pytest.raises(UnusableStore, match="the directory 5d: Input/output error"):
        move(place, calls=calls)
    assert "md5" == abandon(place, calls)
    assert record(place)["format"] == 1


def test_other_file_with_a_new_name_is_quarantined(place, open_store):
    fill(place)
    stranger = path_of(place, digest_of(CONTENTS[0], SHA256))
    with open(stranger, "w") as file:
        file.write("not the content of this name")
    assert move(place) == Summary(len(CONTENTS))
    assert CONTENTS[0] == content(open_store(), name_of(CONTENTS[0]))
    assert 2 == len(os.listdir(place + "/quarantine"))


def test_files_without_digest_names_are_unchanged(place):
    fill(place)
    os.symlink("/etc/passwd", path_of(place, digest_of(HELLO)))
    with open(place + "/5d/readme", "w"):
        pass
    assert move(place) == Summary(len(CONTENTS))
    assert os.path.islink(path_of(place, digest_of(HELLO)))
    assert os.path.exists(place + "/5d/readme")


# --- batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "heap"), [(1, 2**40), (7, 2**40), (8192, 1)])
def test_batch_size_does_not_change_the_result(place, open_store, monkeypatch, batch, heap):
    monkeypatch.setattr(migration, "BATCH_FILES", batch)
    monkeypatch.setattr(migration, "BATCH_BYTES", heap)
    monkeypatch.setattr(migration, "_PAGE_FILES", 5)
    fill(place)
    spoil(place, digest_of(CONTENTS[3]))
    count = ProgressRecorder()
    assert migrate(place, "sha256", count, UNFLUSHED).moved == len(CONTENTS) - 1
    assert ([len(CONTENTS)], len(CONTENTS)) == (count.expected, len(count.sizes))
    store = open_store()
    assert CONTENTS[5:] == tuple(content(store, name_of(data)) for data in CONTENTS[5:])


# --- refused stores and algorithms -----------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "to"), [("sha256", "blake3"), ("blake3", "sha256"), ("sha512", "blake2b"), ("blake2b", "sha512")]
)
def test_algorithms_of_equal_digest_length_are_refused(place, own, to):
    prepare(place, own)
    with pytest.raises(UnusableStore, match=f"hashes of {to} have the length of its {own} hashes"):
        move(place, to)
    assert record(place)["format"] == 1


def test_migration_to_a_former_algorithm_is_refused(place):
    fill(place)
    move(place)
    with pytest.raises(UnusableStore, match="hashes of md5 have the length of its md5 hashes"):
        move(place, "md5")


def test_unknown_algorithm_is_refused(place):
    fill(place)
    with pytest.raises(UnknownAlgorithm):
        move(place, "crc32")


def test_store_of_an_unknown_algorithm_is_refused(place):
    fill(place)
    os.unlink(place + "/FORMAT")
    with open(place + "/FORMAT", "w") as file:
        file.write('{"format": 1, "hash": "sha256-apart", "id": "x"}')
    with pytest.raises(UnusableStore, match="cannot be verified: unknown hash algorithm 'sha256-apart'"):
        move(place)


def missing(place: str) -> None:
    pass


def empty(place: str) -> None:
    os.mkdir(place, 0o700)


def full_of_others(place: str) -> None:
    os.mkdir(place, 0o700)
    with open(place + "/thesis", "w"):
        pass


def open_to_others(place: str) -> None:
    prepare(place)
    os.chmod(place, 0o770)


def link(place: str) -> None:
    os.symlink("/tmp", place)


@pytest.mark.parametrize("arrange", [missing, empty, full_of_others, open_to_others, link])
def test_invalid_store_is_refused_and_unchanged(place, arrange: Callable[[str], None]):
    arrange(place)
    before = os.listdir(place) if os.path.exists(place) else None
    with pytest.raises(UnusableStore) as caught:
        move(place)
    assert (place in str(caught.value), "\n" in str(caught.value)) == (True, False)
    assert before == (os.listdir(place) if os.path.exists(place) else None)


def test_served_store_is_locked_against_migration(place, open_store):
    fill(place)
    open_store()
    with pytest.raises(UnusableStore, match="a daemon serves it"):
        move(place)
    assert record(place)["hash"] == "md5"


def test_store_under_migration_is_locked(place):
    fill(place)
    refusals = []

    def try_meanwhile(name, args):
        if name == "pread" and args[1] > 1 and not refusals:  # a file is read, and not FORMAT
            refusals.append(None)
            for use in (lambda: DiskBackend(place, MD5), lambda: prepare(place), lambda: move(place)):
                with pytest.raises(UnusableStore) as caught:
                    use()
                refusals.append(str(caught.value).removeprefix(f"the store {place} cannot be used: "))

    move(place, calls=watched(try_meanwhile, UNFLUSHED))
    assert refusals[1:] == [
        "it is being migrated right now; start again when that is done",
        "its migration is unfinished; finish it with filestored migrate STORE --to sha256, "
        "or undo it with --abandon instead of --to",
        "a daemon serves it, or another migration is at work; stop that first",
    ]


def test_store_checked_before_a_migration_is_not_opened_after_it(place):
    fill(place)
    own = prepare(place)
    move(place)
    with pytest.raises(UnusableStore, match="it has just been migrated; start again"):
        DiskBackend(place, own)


# --- the aliases -----------------------------------------------------------------------------


def test_alias_file_has_text_lines(place):
    fill(place, [HELLO])
    spoil(place, digest_of(HELLO))
    fill(place, [b"there"])
    move(place)
    with open(place + "/aliases/md5") as file:
        lines = file.readlines()
    corrupt = f"{name_of(HELLO)} {'-' * 64}\n"
    assert sorted([corrupt, f"{name_of(b'there')} {name_of(b'there', SHA256)}\n"]) == lines
    assert 0o440 == stat.S_IMODE(os.stat(place + "/aliases/md5").st_mode)


def test_missing_alias_file_is_refused(place):
    fill(place)
    move(place)
    os.unlink(place + "/aliases/md5")
    with pytest.raises(UnusableStore, match="aliases/md5 is missing; restore it from a copy"):
        DiskBackend(place, SHA256)


def test_unreadable_alias_file_fails_only_former_names_until_it_is_readable(place):
    fill(place, [HELLO])
    move(place)
    codes = [errno.EIO, errno.EIO]

    def fail(name, args):
        if name == "open" and args[0] == "md5" and codes:
            raise OSError(codes.pop(), os.strerror(errno.EIO))

    disk = DiskBackend(place, SHA256, watched(fail))
    assert (read(disk, digest_of(HELLO, SHA256)), [MD5]) == (HELLO, list(disk.alias_algorithms))
    with pytest.raises(OSError, match="Input/output error"):
        disk.resolve(digest_of(HELLO))
    assert disk.resolve(digest_of(HELLO)) == digest_of(HELLO, SHA256)
    disk.close()


def test_truncated_alias_file_is_refused(place):
    fill(place)
    move(place)
    os.chmod(place + "/aliases/md5", 0o600)
    os.truncate(place + "/aliases/md5", 100)
    with pytest.raises(UnusableStore, match="aliases/md5 is damaged"):
        DiskBackend(place, SHA256)


def test_damaged_alias_line_is_an_error(place, open_store):
    fill(place, [HELLO])
    move(place)
    os.chmod(place + "/aliases/md5", 0o600)
    with open(place + "/aliases/md5", "r+b") as file:
        file.seek(40)
        file.write(b"/../")
    assert "damaged" in str(outcome(open_store().open(digest_of(HELLO))))


def test_format_with_invalid_aliases_is_refused(place):
    fill(place)
    os.unlink(place + "/FORMAT")
    for aliases in ('"md5"', "[1]", '{"md5": 1}'):
        with open(place + "/FORMAT", "w") as file:
            file.write(f'{{"format": 2, "hash": "sha256", "id": "x", "aliases": {aliases}}}')
        with pytest.raises(UnusableStore, match="cannot be read"):
            check(place)


def test_directory_entries_of_a_migrated_store(place):
    fill(place)
    move(place)
    prepare(place)
    assert sorted([*SHARD_NAMES, "FORMAT", "aliases", "quarantine"]) == sorted(os.listdir(place))


def test_migration_reads_each_file_once(place):
    fill(place, [HELLO])
    reads = []
    move(place, calls=watched(lambda name, args: reads.append(args[2]) if name == "pread" else None))
    assert reads.count(len(HELLO)) == 1


def test_read_by_a_former_name_opens_the_file(place):
    fill(place, [HELLO])
    move(place)
    disk = DiskBackend(place, SHA256)
    assert read(disk, disk.resolve(digest_of(HELLO))) == HELLO
    disk.close()
