"""Records: the contract of all implementations, and the files of `DiskRecords`."""

import os
import shutil
import signal
import stat
import threading

import pytest
from zope.interface.verify import verifyObject

from filestored.errors import UnusableStore
from filestored.interfaces import IRecords
from filestored.storage.disk import layout
from filestored.storage.disk.records import DiskRecords, check, prepare
from filestored.storage.health import FlushFailed
from filestored.storage.memory import MemoryRecords
from filestored.storage.removed_records import removed
from tests.storage.contract import watched, without_tmpfile
from tests.storage.object_stores import ENGINES, open_object_records, opened_client

NAME = "accounts/anna/account"


@pytest.fixture
def open_records(place):
    """Return a function that opens the records at `place` with given calls."""
    opened = []

    def open_it(calls=None):
        prepare(place, "images")
        opened.append(DiskRecords(place, calls))
        return opened[-1]

    yield open_it
    for records in opened:
        records.close()


LOCAL_RECORDS = ["memory", "disk", "disk without O_TMPFILE"]


@pytest.fixture(params=[*LOCAL_RECORDS, *ENGINES])
def records(request):
    if request.param == "memory":
        yield MemoryRecords()
    elif request.param == "disk":
        yield request.getfixturevalue("open_records")()
    elif request.param == "disk without O_TMPFILE":
        yield request.getfixturevalue("open_records")(without_tmpfile())
    else:
        with opened_client(request) as client:
            yield open_object_records(client)


# --- the contract --------------------------------------------------------------------------------


def test_records_provide_their_interface(records):
    assert verifyObject(IRecords, records)


def test_created_record_is_read(records):
    assert records.create(NAME, b"one")
    assert b"one" == records.read(NAME)


@pytest.mark.parametrize("name", [NAME, "account", "accounts/anna"])
def test_missing_record_is_none(records, name):
    records.create("accounts/bert/account", b"x")
    assert records.read(name) is None


def test_create_refuses_an_existing_record(records):
    assert [True, False, False] == [records.create(NAME, value) for value in (b"one", b"one", b"two")]
    assert b"one" == records.read(NAME)


def test_replace_requires_the_old_value(records):
    assert not records.replace(NAME, b"", b"new")
    records.create(NAME, b"one")
    assert [False, True, False] == [records.replace(NAME, old, b"two") for old in (b"two", b"one", b"one")]
    assert b"two" == records.read(NAME)


def test_remove_requires_the_current_value(records):
    assert not records.remove(NAME, b"")
    records.create(NAME, b"one")
    assert [False, True, False] == [records.remove(NAME, value) for value in (b"two", b"one", b"one")]
    assert records.read(NAME) is None
    assert records.create(NAME, b"again")


def test_names_are_listed_below_a_prefix_in_order(records):
    for name in ("a/c/2", "a/b", "a/c/10", "ab/x", "b"):
        records.create(name, b"")
    assert ["a/b", "a/c/10", "a/c/2"] == records.names("a")
    assert ["a/c/10", "a/c/2"] == records.names("a/c")
    assert [] == records.names("nothing")
    assert [] == records.names("nothing/below")


def test_names_keep_all_characters(records):
    name = "names/Ёжик в %тумане% 🦔~.png"
    records.create(name, b"x")
    assert [name] == records.names("names")
    assert b"x" == records.read(name)


def test_read_all_returns_the_records_of_one_directory(records):
    for name in ("a/c/2", "a/b", "a/Ё", "ab/x", "b"):
        records.create(name, name.encode())
    assert {("b", b"a/b"), ("Ё", "a/Ё".encode())} == set(records.read_all("a"))
    assert [] == list(records.read_all("nothing"))


@pytest.mark.parametrize("records", LOCAL_RECORDS, indirect=True)
def test_read_all_skips_a_record_removed_meanwhile(records):
    """Records of an object store are read several at a time, so that one may be returned that was removed."""
    for number in range(3):
        records.create(f"a/{number}", b"x")
    reading = records.read_all("a")
    seen = [next(reading)[0]]
    (left,) = sorted({"0", "1", "2"} - set(seen))[:1]
    records.remove(f"a/{left}", b"x")
    seen += [name for name, _ in reading]
    assert sorted({"0", "1", "2"} - {left}) == sorted(seen)


def test_read_all_can_be_closed_early(records):
    for number in range(3):
        records.create(f"a/{number}", b"x")
    reading = records.read_all("a")
    next(reading)
    reading.close()
    assert [] == list(reading)


def test_entries_are_the_next_segments_each_once(records):
    for name in ("a/c/2", "a/c/10", "a/b", "ab/x"):
        records.create(name, b"")
    assert ["b", "c"] == records.entries("a")
    assert [] == records.entries("nothing")


def test_prefix_is_not_empty_while_it_has_a_record_or_never_existed(records):
    for name in ("a/b/1", "a/2"):
        records.create(name, b"x")
    assert records.remove("a/2", b"x")
    assert [False, False] == [records.is_empty(prefix) for prefix in ("a", "nothing")]


# --- the contract of `held` ----------------------------------------------------------------------


def test_lock_is_held_on_a_record_with_the_value(records):
    records.create(NAME, b"one")
    for value, holds in ((b"one", True), (b"two", False)):
        with records.held(NAME, value) as is_held:
            assert holds == is_held
    with records.held("accounts/bert/account", b"") as is_held:
        assert not is_held
    assert records.remove(NAME, b"one")
    with records.held(NAME, b"one") as is_held:
        assert not is_held


def test_lock_is_not_held_on_a_record_with_another_value(records):
    records.create(NAME, b"one")
    with records.held(NAME, b"two"), records.held("accounts/bert/account", b""):
        assert records.replace(NAME, b"one", b"two")


@pytest.mark.parametrize("verb", ["replace", "remove"])
def test_change_waits_for_lock_holders_and_lets_no_new_one_hold(records, verb):
    """A new context waits for the change, or begins at once without a lock: the old value is replaced."""
    records.create(NAME, b"old")
    order = []
    first_ends, second_ends = threading.Event(), threading.Event()

    def hold(ends, name):
        with records.held(NAME, b"old") as is_held:
            order.append((name, is_held))
            ends.wait()

    def change():
        records.replace(NAME, b"old", b"new") if verb == "replace" else records.remove(NAME, b"old")
        order.append(verb)

    threads = [
        threading.Thread(target=target, args=args, daemon=True)
        for target, args in (
            (hold, (first_ends, "first")),
            (hold, (second_ends, "second")),
            (change, ()),
            (hold, (first_ends, "late")),
        )
    ]
    for thread in threads:
        thread.start()
        thread.join(0.1)
    assert verb not in order
    first_ends.set()
    threads[2].join(0.1)
    assert verb not in order
    second_ends.set()
    for thread in threads:
        thread.join()
    assert [("first", True), ("second", True)] == order[:2]
    assert {verb, ("late", False)} == set(order[2:])
    assert (b"new" if verb == "replace" else None) == records.read(NAME)


def test_lock_is_released_after_an_exception(records):
    records.create(NAME, b"old")
    with pytest.raises(RuntimeError), records.held(NAME, b"old"):
        raise RuntimeError
    assert records.replace(NAME, b"old", b"new")


def test_one_of_many_concurrent_creates_succeeds(records):
    assert [False] * 15 + [True] == at_once(lambda number: records.create(NAME, b"%d" % number), 16)


def test_one_of_many_concurrent_replaces_succeeds(records):
    records.create(NAME, b"old")
    assert [False] * 15 + [True] == at_once(lambda number: records.replace(NAME, b"old", b"%d" % number), 16)


def test_one_of_many_concurrent_removes_succeeds(records):
    records.create(NAME, b"old")
    assert [False] * 15 + [True] == at_once(lambda _: records.remove(NAME, b"old"), 16)


def test_concurrent_changes_are_not_lost(records):
    records.create(NAME, b"0")

    def count(_):
        while True:
            held = records.read(NAME)
            if records.replace(NAME, held, b"%d" % (int(held) + 1)):
                return True

    at_once(count, 24)
    assert b"24" == records.read(NAME)


def at_once(work, many):
    outcomes = []
    threads = [threading.Thread(target=lambda n=n: outcomes.append(work(n))) for n in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


# --- the disk ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", "/a", "a/", "a//b", ".", "..", "a/../b", ".a/b", "a/.next", "a\0b", "a" * 256, "ж" * 128],
)
def test_unsafe_record_name_is_invalid(open_records, name):
    records = open_records()
    for verb in (lambda: records.create(name, b""), lambda: records.read(name), lambda: records.names(name)):
        with pytest.raises(ValueError, match="not the name of a record"):
            verb()


def test_records_are_readable_files_with_mode_0400(open_records, place):
    open_records().create(NAME, b"hello\n")
    path = os.path.join(place, NAME)
    with open(path) as file:
        assert "hello\n" == file.read()
    assert 0o400 == stat.S_IMODE(os.stat(path).st_mode)
    assert {0o700} == {
        stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode),
        stat.S_IMODE(os.stat(place).st_mode),
    }


@pytest.mark.parametrize("planted", ["symlink", "fifo", "directory"])
def test_non_regular_record_is_missing(open_records, place, planted):
    records = open_records()
    records.create("a/good", b"good")
    path = place + "/a/planted"
    if planted == "symlink":
        os.symlink(place + "/a/good", path)
    elif planted == "fifo":
        os.mkfifo(path)
    else:
        os.mkdir(path)
    assert records.read("a/planted") is None
    assert ["a/good"] == records.names("a")


def test_symbolic_link_to_a_directory_is_not_followed(open_records, place, tmp_path):
    records = open_records()
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink(tmp_path, place + "/a")
    assert records.read("a/secret") is None
    assert [] == records.names("a")
    with pytest.raises(OSError):
        records.create("a/mine", b"x")
    assert ["secret"] == os.listdir(tmp_path)


def test_change_waits_for_a_lock_of_another_process_until_it_exits(open_records, place):
    records = open_records()
    records.create(NAME, b"old")
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        with DiskRecords(place).held(NAME, b"old") as is_held:
            os.write(writer, b"%d" % is_held)
            signal.pause()
    assert b"1" == os.read(reader, 1)
    changed = []
    change = threading.Thread(target=lambda: changed.append(records.replace(NAME, b"old", b"new")))
    change.start()
    change.join(0.2)
    assert [] == changed
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    change.join()
    assert [True] == changed
    os.close(reader)
    os.close(writer)


def test_entries_include_links_and_empty_directories(open_records, place):
    records = open_records()
    records.create("a/b/c", b"x")
    os.mkdir(place + "/a/empty")
    os.symlink("/", place + "/a/link")
    os.mkdir(place + "/a/.hidden")
    assert ["b", "empty", "link"] == records.entries("a")
    assert [] == list(records.read_all("a"))


def test_directory_is_empty_after_its_last_record_unless_another_entry_is_there(open_records, place):
    records = open_records()
    records.create("a/b/c", b"x")
    records.create("a/removed", removed())
    records.remove("a/b/c", b"x")
    assert records.is_empty("a")
    os.symlink(place + "/a", place + "/link")
    assert not records.is_empty("link")
    for make in (lambda path: os.symlink("/", path), os.mkfifo, lambda path: records.create("a/b/c", b"y")):
        make(place + "/a/b/c")
        assert not records.is_empty("a")
        os.unlink(place + "/a/b/c")


def test_read_all_opens_each_record_and_directory_once(open_records):
    opened = []
    records = open_records(watched(lambda name, args: opened.append(args[0]) if name == "open" else None))
    for number in range(20):
        records.create(f"accounts/anna/names/{number}", b"x")
    opened.clear()
    assert 20 == len(list(records.read_all("accounts/anna/names")))
    assert [".", "accounts", "anna", "names"] == opened[:4]
    assert sorted(map(str, range(20))) == sorted(opened[4:])


def test_removed_directory_of_records_is_created_again(open_records, place):
    records = open_records()
    records.create(NAME, b"one")
    shutil.rmtree(place + "/accounts")
    assert records.create(NAME, b"two")
    assert b"two" == records.read(NAME)


@pytest.mark.parametrize("verb", ["create", "replace", "remove"])
def test_record_bytes_are_flushed_before_name_and_name_before_return(open_records, verb):
    calls = []
    records = open_records(watched(lambda name, _: calls.append(name)))
    records.create(NAME, b"old")
    calls.clear()
    if verb == "create":
        records.create("accounts/anna/other", b"new")
        expected = ["fsync", "link", "fsync", "pread"]
    elif verb == "replace":
        records.replace(NAME, b"old", b"new")
        expected = ["fsync", "flock", "pread", "flock", "unlink", "link", "rename", "fsync", "pread"]
    else:
        records.remove(NAME, b"old")
        expected = ["flock", "pread", "flock", "unlink", "fsync", "pread"]
    watched_names = {"fsync", "pread", "link", "rename", "unlink", "flock"}
    assert expected == [name for name in calls if name in watched_names]


def test_directories_are_flushed_before_their_entries(open_records):
    calls = []
    first = open_records()
    first.create(NAME, b"")
    second = open_records(watched(lambda name, _: calls.append(name)))
    for name in ("one", "two"):
        second.create(f"accounts/anna/{name}", b"")
    changes = [name for name in calls if name in {"fsync", "pread", "link", "mkdir"}]
    confirmed = ["fsync", "pread"]  # of a directory, then of FORMAT
    above = ["mkdir", *confirmed, "mkdir", *confirmed]
    assert ["fsync", *above, "link", *confirmed, "fsync", "link", *confirmed] == changes


@pytest.mark.parametrize("verb", ["create", "replace", "remove"])
def test_failed_directory_flush_raises(open_records, verb):
    failing = set()

    def fail(name, args):
        if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) and failing:
            raise OSError(5, "Input/output error")

    records = open_records(watched(fail))
    records.create(NAME, b"old")
    failing.add("now")
    with pytest.raises(FlushFailed):
        {
            "create": lambda: records.create("accounts/anna/other", b""),
            "replace": lambda: records.replace(NAME, b"old", b"new"),
            "remove": lambda: records.remove(NAME, b"old"),
        }[verb]()


@pytest.mark.parametrize("verb", ["create", "replace", "remove"])
@pytest.mark.parametrize("calls", [None, without_tmpfile()], ids=["O_TMPFILE", "named"])
@pytest.mark.slow
def test_crash_at_any_call_leaves_the_old_or_new_value(place, verb, calls):
    def work(records):
        if verb == "create":
            records.create(NAME, b"new")
        elif verb == "replace":
            records.replace(NAME, b"old", b"new")
        else:
            records.remove(NAME, b"old")

    prepare(place, "images")
    allowed = {"create": {None, b"new"}, "replace": {b"old", b"new"}, "remove": {b"old", None}}[verb]
    site, ended = 0, False
    while not ended:
        _set(place, None if verb == "create" else b"old")
        ended = _dies_at(site, place, work, calls)
        prepare(place, "images")
        records = DiskRecords(place)
        held = records.read(NAME)
        assert held in allowed
        assert ([NAME] if held is not None else []) == records.names("accounts")
        assert [] == [name for name in os.listdir(place) if name not in {"FORMAT", "accounts", "tmp"}]
        if os.path.isdir(place + "/tmp"):
            assert [] == os.listdir(place + "/tmp")
        assert records.create(NAME, b"x") or records.replace(NAME, held, b"x")
        records.close()
        site += 1
    assert site > 5


def _set(place, value):
    records = DiskRecords(place)
    held = records.read(NAME)
    if held is not None:
        records.remove(NAME, held)
    if value is not None:
        records.create(NAME, value)
    records.close()


def _dies_at(site, place, work, calls):
    """Run `work` in a process that dies before its call number `site`; return whether it completed before."""
    child = os.fork()
    if child == 0:
        count = 0

        def die(*_):
            nonlocal count
            if count == site:
                os._exit(9)
            count += 1

        try:
            work(DiskRecords(place, watched(die, calls)))
            os._exit(0)
        except BaseException:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


# --- the directory -------------------------------------------------------------------------------


def test_check_accepts_a_missing_directory_and_creates_nothing(place):
    check(place, "images")
    assert not os.path.exists(place)


@pytest.mark.parametrize("look", [check, prepare])
def test_file_store_is_refused_for_images(place, look):
    layout.prepare(place, "md5")
    with pytest.raises(UnusableStore, match="named by md5, and not a place for images"):
        look(place, "images")


def test_image_directory_is_refused_as_file_store(place):
    prepare(place, "images")
    with pytest.raises(Exception, match="images"):
        layout.prepare(place)


@pytest.mark.parametrize("look", [check, prepare])
def test_directory_with_other_contents_is_refused_for_records(place, look):
    os.mkdir(place)
    os.mkdir(place + "/photos")
    with pytest.raises(UnusableStore, match="not empty"):
        look(place, "images")
    assert ["photos"] == os.listdir(place)


@pytest.mark.parametrize("look", [check, prepare])
def test_directory_writable_by_others_is_refused_for_records(place, look):
    prepare(place, "images")
    os.chmod(place, 0o770)
    with pytest.raises(UnusableStore, match="others may write"):
        look(place, "images")
