"""A store moves to another algorithm: names, rot, what is refused, what works afterwards."""

import errno
import json
import os
import stat
from collections.abc import Callable

import pytest
from twisted.internet.defer import maybeDeferred
from zope.interface.verify import verifyObject

from filestored.digest import Digest, algorithm
from filestored.errors import Collision, MalformedDigest, NotFound, UnknownAlgorithm, UnusableStore
from filestored.interfaces import IAliases, IStore
from filestored.storage.disk.backend import DiskBackend
from filestored.storage.disk.layout import SHARD_NAMES, check, prepare
from filestored.storage.disk.syscalls import Syscalls
from filestored.storage.migration import migrate as migration
from filestored.storage.migration.migrate import Summary, abandon, migrate
from filestored.storage.store import Store
from tests.storage.contract import HELLO, MD5, digest_of, files_below, outcome, put, read, send, watched
from tests.storage.test_backend_contract import COLLIDING
from tests.storage.test_storage_disk import plant

SHA256 = algorithm("sha256")
SHA512 = algorithm("sha512")
CONTENTS = (*(b"content %d" % number for number in range(8)), b"", b"x" * 3_000_000)
UNFLUSHED = Syscalls(fsync=lambda descriptor: None)
"""Calls that flush nothing: no test here cuts the power, and there are thousands of flushes."""


class Count:
    """What a migration says of how far it is."""

    def __init__(self) -> None:
        self.expected: list[int] = []
        self.sizes: list[int] = []

    def expect(self, files: int) -> None:
        self.expected.append(files)

    def read(self, size: int) -> None:
        self.sizes.append(size)


def fill(place: str, contents=CONTENTS, own=MD5) -> None:
    """A store of these contents that nobody uses any more."""
    disk = DiskBackend(place, prepare(place, own.name, UNFLUSHED), UNFLUSHED, reserve=0)
    for data in contents:
        put(disk, data, digest_of(data, own))
    disk.close()


def move(place: str, to: str = "sha256", calls=UNFLUSHED) -> Summary:
    return migrate(place, to, Count(), calls)


def record(place: str) -> dict[str, object]:
    with open(place + "/FORMAT") as file:
        return json.load(file)


def path_of(place: str, digest: Digest) -> str:
    return f"{place}/{digest.shard}/{digest}"


def spoil(place: str, name: Digest, data: bytes = b"rotten") -> None:
    """Let the bytes of a file rot."""
    os.chmod(path_of(place, name), 0o600)
    with open(path_of(place, name), "wb") as file:
        file.write(data)


@pytest.fixture
def open_store(place):
    """A function that opens the store at `place` as the daemon does."""
    opened = []

    def open_it() -> Store:
        own = prepare(place, calls=UNFLUSHED)
        opened.append(DiskBackend(place, own, UNFLUSHED, reserve=0))
        return Store(opened[-1], own, maybeDeferred)

    yield open_it
    for disk in opened:
        disk.close()


def content(store: Store, name: str) -> bytes | None:
    """What a client gets that asks for a name; None for nothing."""
    blob = outcome(store.open(store.parse(name)))
    if isinstance(blob, NotFound):
        return None
    try:
        return os.pread(blob.fileno(), blob.size, 0)
    finally:
        blob.close()


def name_of(data: bytes, own=MD5) -> str:
    return digest_of(data, own).hex


# --- names -----------------------------------------------------------------------------------


def test_each_file_has_its_new_name_and_no_other_in_the_shards(place):
    fill(place)
    assert move(place) == Summary(len(CONTENTS))
    expected = [f"{digest.shard}/{digest}" for digest in (digest_of(data, SHA256) for data in CONTENTS)]
    assert sorted([*expected, "aliases/md5"]) == files_below(place)


def test_a_file_is_the_same_file_under_its_new_name(place):
    fill(place)
    before = os.stat(path_of(place, digest_of(CONTENTS[0])))
    move(place)
    after = os.stat(path_of(place, digest_of(CONTENTS[0], SHA256)))
    assert os.path.samestat(before, after)
    assert (1, stat.S_IFREG | 0o440) == (after.st_nlink, after.st_mode)


def test_the_format_tells_the_new_algorithm_the_old_one_and_the_same_id(place):
    fill(place)
    before = record(place)
    move(place)
    assert record(place) == {**before, "format": 2, "hash": "sha256", "aliases": ["md5"]}
    assert (SHA256, SHA256) == (check(place), check(place, "sha256"))


@pytest.mark.parametrize("own", [MD5, SHA256])
def test_a_store_that_has_moved_gives_each_file_by_either_name(place, open_store, own):
    fill(place)
    move(place)
    store = open_store()
    assert list(CONTENTS) == [content(store, name_of(data, own)) for data in CONTENTS]
    assert content(store, name_of(b"never stored", own)) is None


def test_the_blob_keeps_the_name_that_was_asked_for(place, open_store):
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
def test_what_is_no_name_of_either_algorithm_is_malformed(place, open_store, text):
    fill(place)
    move(place)
    with pytest.raises(MalformedDigest):
        open_store().parse(text)


def test_a_store_that_has_never_moved_knows_its_own_names_only(place, open_store):
    fill(place)
    with pytest.raises(MalformedDigest):
        open_store().parse(name_of(HELLO, SHA256))


def test_a_store_that_moves_twice_answers_all_its_names(place, open_store):
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


def test_an_empty_store_moves(place, open_store):
    prepare(place, "md5")
    assert move(place) == Summary()
    store = open_store()
    assert ("sha256", None) == (store.algorithm.name, content(store, name_of(HELLO)))


def test_a_store_that_has_moved_already_stays_as_it_is(place):
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


# --- what is done to files afterwards --------------------------------------------------------


def test_what_is_uploaded_afterwards_gets_a_new_name_only(place, open_store):
    fill(place)
    move(place)
    store = open_store()
    stored = outcome(send(store, HELLO))
    assert (digest_of(HELLO, SHA256), True) == (stored.digest, stored.created)
    assert (HELLO, None) == (content(store, name_of(HELLO, SHA256)), content(store, name_of(HELLO)))


def test_what_was_there_before_is_not_new(place, open_store):
    fill(place)
    move(place)
    assert not outcome(send(open_store(), CONTENTS[0])).created


@pytest.mark.parametrize("own", [MD5, SHA256])
def test_a_file_that_is_deleted_by_one_name_has_no_other(place, open_store, own):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    assert [True, False] == [outcome(store.delete(digest_of(data, own))) for _ in range(2)]
    assert [None, None] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]
    assert outcome(store.delete(digest_of(b"never stored", own))) is False
    assert not any(os.path.exists(path_of(place, digest_of(data, each))) for each in (MD5, SHA256))


def test_a_file_that_is_uploaded_again_has_both_names_again(place, open_store):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    outcome(store.delete(digest_of(data)))
    outcome(send(store, data))
    assert [data, data] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]


def test_an_upload_heals_a_file_under_both_names(place, open_store):
    fill(place)
    move(place)
    store, data = open_store(), CONTENTS[0]
    spoil(place, digest_of(data, SHA256))
    assert outcome(send(store, data)).created
    assert [data, data] == [content(store, name_of(data, each)) for each in (MD5, SHA256)]


def test_colliding_files_are_two_in_a_sha256_store(place, open_store):
    fill(place, [COLLIDING[0]])
    assert isinstance(outcome(send(open_store(), COLLIDING[1])), Collision)


def test_after_the_move_a_former_name_means_the_file_that_had_it(place, open_store):
    fill(place, [COLLIDING[0]])
    move(place)
    store = open_store()
    assert outcome(send(store, COLLIDING[1])).created
    assert list(COLLIDING) == [content(store, name_of(data, SHA256)) for data in COLLIDING]
    assert COLLIDING[0] == content(store, name_of(COLLIDING[1]))


# --- rot -------------------------------------------------------------------------------------


def test_a_rotten_file_goes_to_quarantine_and_the_others_move(place, open_store):
    fill(place)
    spoil(place, digest_of(CONTENTS[3]))
    summary = move(place)
    assert Summary(len(CONTENTS) - 1, (digest_of(CONTENTS[3]),)) == summary
    kept, reason = sorted(os.listdir(place + "/quarantine"))
    with open(f"{place}/quarantine/{kept}") as file, open(f"{place}/quarantine/{reason}") as why:
        assert ("rotten", "its bytes do not have the md5 of its name\n") == (file.read(), why.read())
    store = open_store()
    assert [None, None] == [content(store, name_of(CONTENTS[3], own)) for own in (MD5, SHA256)]
    assert CONTENTS[4] == content(store, name_of(CONTENTS[4]))


def test_a_store_of_rot_alone_moves(place, open_store):
    fill(place, CONTENTS[:3])
    for data in CONTENTS[:3]:
        spoil(place, digest_of(data))
    names = sorted((digest_of(data) for data in CONTENTS[:3]), key=str)
    assert move(place) == Summary(0, tuple(names))
    assert outcome(open_store().digests()) == []


def failing(name: Digest, call: str, code: int) -> Syscalls:
    """Calls of which one fails for one file."""

    def fail(called, args):
        target = os.readlink(f"/proc/self/fd/{args[0]}") if called == "pread" else str(args[:1])
        if called == call and name.hex in target:
            raise OSError(code, os.strerror(code))

    return watched(fail, UNFLUSHED)


@pytest.mark.parametrize(
    ("call", "code"),
    [("pread", errno.EIO), ("pread", errno.EBADMSG), ("open", errno.EIO), ("open", errno.EACCES)],
)
def test_a_file_that_cannot_be_read_keeps_its_former_name_and_the_others_move(place, open_store, call, code):
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


def test_a_file_that_kept_a_former_name_keeps_it_in_the_next_migration_too(place, open_store):
    fill(place)
    bad = digest_of(CONTENTS[3])
    move(place, calls=failing(bad, "pread", errno.EIO))
    assert move(place, "sha512") == Summary(len(CONTENTS) - 1)
    assert list(CONTENTS) == [content(open_store(), name_of(each)) for each in CONTENTS]


def test_a_file_that_may_not_be_linked_keeps_its_former_name(place, open_store):
    fill(place, [HELLO])

    def refuse(name, args):
        if name == "link" and args[1] == name_of(HELLO, SHA256):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    assert move(place, calls=watched(refuse, UNFLUSHED)) == Summary(0, (), (digest_of(HELLO),))
    assert content(open_store(), name_of(HELLO)) == HELLO


def test_many_files_in_a_row_that_cannot_be_read_end_the_run_and_stay(place, monkeypatch):
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
def test_a_file_that_vanishes_or_is_replaced_after_it_was_listed_is_passed_over(place, kind):
    fill(place)
    path = path_of(place, digest_of(CONTENTS[3]))

    def replace(name, args):
        if name == "open" and args[0] == digest_of(CONTENTS[3]).hex and os.path.isfile(path):
            os.unlink(path)
            if kind != "gone":
                plant(kind, path)

    assert move(place, calls=watched(replace, UNFLUSHED)) == Summary(len(CONTENTS) - 1)
    assert [] == os.listdir(place + "/quarantine")


def test_a_directory_that_cannot_be_read_ends_the_run_with_its_name_and_can_be_undone(place):
    fill(place, [HELLO])

    def fail(name, args):
        if name == "scandir" and os.readlink(f"/proc/self/fd/{args[0]}").endswith("/5d"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    calls = watched(fail, UNFLUSHED)
    with pytest.raises(UnusableStore, match="the directory 5d: Input/output error"):
        move(place, calls=calls)
    assert "md5" == abandon(place, calls)
    assert record(place)["format"] == 1


def test_a_stranger_that_has_a_new_name_is_moved_aside(place, open_store):
    fill(place)
    stranger = path_of(place, digest_of(CONTENTS[0], SHA256))
    with open(stranger, "w") as file:
        file.write("not the content of this name")
    assert move(place) == Summary(len(CONTENTS))
    assert CONTENTS[0] == content(open_store(), name_of(CONTENTS[0]))
    assert 2 == len(os.listdir(place + "/quarantine"))


def test_what_is_no_file_of_the_store_stays_where_it_is(place):
    fill(place)
    os.symlink("/etc/passwd", path_of(place, digest_of(HELLO)))
    with open(place + "/5d/readme", "w"):
        pass
    assert move(place) == Summary(len(CONTENTS))
    assert os.path.islink(path_of(place, digest_of(HELLO)))
    assert os.path.exists(place + "/5d/readme")


# --- in batches ------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "heap"), [(1, 2**40), (7, 2**40), (8192, 1)])
def test_batches_of_any_size_move_the_same(place, open_store, monkeypatch, batch, heap):
    monkeypatch.setattr(migration, "BATCH_FILES", batch)
    monkeypatch.setattr(migration, "BATCH_BYTES", heap)
    monkeypatch.setattr(migration, "_LISTED", 5)
    fill(place)
    spoil(place, digest_of(CONTENTS[3]))
    count = Count()
    assert migrate(place, "sha256", count, UNFLUSHED).moved == len(CONTENTS) - 1
    assert ([len(CONTENTS)], len(CONTENTS)) == (count.expected, len(count.sizes))
    store = open_store()
    assert CONTENTS[5:] == tuple(content(store, name_of(data)) for data in CONTENTS[5:])


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "to"), [("sha256", "blake3"), ("blake3", "sha256"), ("sha512", "blake2b"), ("blake2b", "sha512")]
)
def test_names_that_nobody_could_tell_apart_are_refused(place, own, to):
    prepare(place, own)
    with pytest.raises(UnusableStore, match=f"names of {own} and {to} are equally long"):
        move(place, to)
    assert record(place)["format"] == 1


def test_a_store_does_not_move_back_to_names_it_has_left(place):
    fill(place)
    move(place)
    with pytest.raises(UnusableStore, match="names of md5 and md5 are equally long"):
        move(place, "md5")


def test_an_unknown_algorithm_is_refused(place):
    fill(place)
    with pytest.raises(UnknownAlgorithm):
        move(place, "crc32")


def test_a_store_named_by_no_algorithm_of_ours_is_refused(place):
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
def test_what_is_no_store_of_ours_is_refused_and_untouched(place, arrange: Callable[[str], None]):
    arrange(place)
    before = os.listdir(place) if os.path.exists(place) else None
    with pytest.raises(UnusableStore) as caught:
        move(place)
    assert (place in str(caught.value), "\n" in str(caught.value)) == (True, False)
    assert before == (os.listdir(place) if os.path.exists(place) else None)


def test_a_store_that_is_served_is_refused(place, open_store):
    fill(place)
    open_store()
    with pytest.raises(UnusableStore, match="a daemon serves it"):
        move(place)
    assert record(place)["hash"] == "md5"


def test_a_store_that_is_being_moved_is_neither_served_nor_moved_by_another(place):
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


def test_a_daemon_that_has_looked_before_a_migration_does_not_open_behind_it(place):
    fill(place)
    own = prepare(place)
    move(place)
    with pytest.raises(UnusableStore, match="it has just been migrated; start again"):
        DiskBackend(place, own)


# --- the aliases -----------------------------------------------------------------------------


def test_aliases_are_lines_that_grep_reads(place):
    fill(place, [HELLO])
    spoil(place, digest_of(HELLO))
    fill(place, [b"there"])
    move(place)
    with open(place + "/aliases/md5") as file:
        lines = file.readlines()
    rotten = f"{name_of(HELLO)} {'-' * 64}\n"
    assert sorted([rotten, f"{name_of(b'there')} {name_of(b'there', SHA256)}\n"]) == lines
    assert 0o440 == stat.S_IMODE(os.stat(place + "/aliases/md5").st_mode)


def test_a_store_without_its_aliases_is_refused(place):
    fill(place)
    move(place)
    os.unlink(place + "/aliases/md5")
    with pytest.raises(UnusableStore, match="aliases/md5 is missing; restore it from a copy"):
        DiskBackend(place, SHA256)


def test_aliases_that_cannot_be_read_fail_former_names_alone_until_they_can(place):
    fill(place, [HELLO])
    move(place)
    codes = [errno.EIO, errno.EIO]

    def fail(name, args):
        if name == "open" and args[0] == "md5" and codes:
            raise OSError(codes.pop(), os.strerror(errno.EIO))

    disk = DiskBackend(place, SHA256, watched(fail))
    assert (read(disk, digest_of(HELLO, SHA256)), [MD5]) == (HELLO, list(disk.former))
    with pytest.raises(OSError, match="Input/output error"):
        disk.current(digest_of(HELLO))
    assert disk.current(digest_of(HELLO)) == digest_of(HELLO, SHA256)
    disk.close()


def test_a_store_whose_aliases_were_cut_off_is_refused(place):
    fill(place)
    move(place)
    os.chmod(place + "/aliases/md5", 0o600)
    os.truncate(place + "/aliases/md5", 100)
    with pytest.raises(UnusableStore, match="aliases/md5 is damaged"):
        DiskBackend(place, SHA256)


def test_a_damaged_line_is_an_error_and_no_other_file(place, open_store):
    fill(place, [HELLO])
    move(place)
    os.chmod(place + "/aliases/md5", 0o600)
    with open(place + "/aliases/md5", "r+b") as file:
        file.seek(40)
        file.write(b"/../")
    assert "damaged" in str(outcome(open_store().open(digest_of(HELLO))))


def test_a_format_whose_aliases_are_no_names_is_refused(place):
    fill(place)
    os.unlink(place + "/FORMAT")
    for aliases in ('"md5"', "[1]", '{"md5": 1}'):
        with open(place + "/FORMAT", "w") as file:
            file.write(f'{{"format": 2, "hash": "sha256", "id": "x", "aliases": {aliases}}}')
        with pytest.raises(UnusableStore, match="cannot be read"):
            check(place)


def test_the_furniture_of_a_store_that_has_moved(place):
    fill(place)
    move(place)
    prepare(place)
    assert sorted([*SHARD_NAMES, "FORMAT", "aliases", "quarantine"]) == sorted(os.listdir(place))


def test_files_are_read_once(place):
    fill(place, [HELLO])
    reads = []
    move(place, calls=watched(lambda name, args: reads.append(args[2]) if name == "pread" else None))
    assert reads.count(len(HELLO)) == 1


def test_reading_by_a_former_name_is_reading_the_file(place):
    fill(place, [HELLO])
    move(place)
    disk = DiskBackend(place, SHA256)
    assert read(disk, disk.current(digest_of(HELLO))) == HELLO
    disk.close()
