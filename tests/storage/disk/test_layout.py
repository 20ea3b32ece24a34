"""Layout of a store: refused directories, created entries, concurrent preparation."""

import errno
import fcntl
import json
import os
import stat

import pytest

from filestored.errors import UnknownAlgorithm, UnusableStore
from filestored.storage.disk.layout import DEFAULT_HASH, SHARD_NAMES, check, prepare
from filestored.storage.disk.syscalls import Syscalls
from tests.storage.contract import watched, without_tmpfile


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def test_check_accepts_a_missing_store_and_creates_nothing(place):
    assert (DEFAULT_HASH, "sha256") == (check(place).name, check(place, "sha256").name)
    assert not os.path.exists(place)


def test_prepare_creates_all_directories_and_format(place):
    assert prepare(place, "sha256").name == "sha256"
    with open(place + "/FORMAT") as file:
        record = json.load(file)
    assert (1, "sha256", 36) == (record["format"], record["hash"], len(record["id"]))
    assert sorted([*SHARD_NAMES, "FORMAT", "quarantine"]) == sorted(os.listdir(place))
    assert {0o700} == {mode_of(place), *(mode_of(f"{place}/{name}") for name in [*SHARD_NAMES, "quarantine"])}
    assert mode_of(place + "/FORMAT") == 0o440


def test_prepare_keeps_algorithm_and_id_of_an_existing_store(place):
    prepare(place, "blake2b")
    with open(place + "/FORMAT") as file:
        before = file.read()
    assert ("blake2b", "blake2b") == (prepare(place).name, check(place).name)
    with open(place + "/FORMAT") as file:
        assert before == file.read()


@pytest.mark.parametrize("look", [check, prepare])
def test_another_hash_is_refused_with_both_names(place, look):
    prepare(place, "md5")
    with pytest.raises(UnusableStore, match="named by md5, not by sha256 as --hash asks") as caught:
        look(place, "sha256")
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("look", [check, prepare])
def test_unknown_hash_is_refused(place, look):
    with pytest.raises(UnknownAlgorithm):
        look(place, "crc32")
    assert not os.path.exists(place)


@pytest.mark.parametrize("look", [check, prepare])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_store_writable_by_others_is_refused(place, look, mode):
    prepare(place)
    os.chmod(place, mode)
    with pytest.raises(UnusableStore, match=f"others may write into it .mode {mode:04o}."):
        look(place)


def test_empty_directory_of_umask_002_becomes_a_private_store(place):
    os.mkdir(place)
    os.chmod(place, 0o775)
    check(place)
    prepare(place)
    assert 0o700 == stat.S_IMODE(os.stat(place).st_mode)


@pytest.mark.parametrize("look", [check, prepare])
@pytest.mark.parametrize(("owner", "mode"), [(None, 0o777), (None, 0o770), (12345, 0o700), (12345, 0o777)])
@pytest.mark.parametrize("directory_mode", [0o775, 0o700])
def test_empty_directory_with_a_tmp_that_others_write_is_refused(place, look, owner, mode, directory_mode):
    if owner is not None and os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.makedirs(f"{place}/tmp")
    os.chmod(f"{place}/tmp", mode)
    os.chown(f"{place}/tmp", -1 if owner is None else owner, -1)
    os.chmod(place, directory_mode)
    with pytest.raises(UnusableStore, match=r"others may write into its tmp/ .*; remove that"):
        look(place)


@pytest.mark.parametrize("name", ["tmp", "ab"])
def test_entry_made_by_the_group_before_the_mode_is_changed_is_refused(place, name):
    def fchmod(descriptor, mode):
        os.mkdir(f"{place}/{name}")
        os.chmod(f"{place}/{name}", 0o777)
        os.fchmod(descriptor, mode)

    os.mkdir(place)
    os.chmod(place, 0o775)
    with pytest.raises(UnusableStore, match=r"others may write into its tmp/|it is not empty"):
        prepare(place, calls=Syscalls(fchmod=fchmod))


def test_file_system_without_modes_is_refused_with_the_reason(place):
    def fchmod(descriptor, mode):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with pytest.raises(UnusableStore, match=r"its file system keeps no modes .*; name a directory on"):
        prepare(place, calls=Syscalls(fchmod=fchmod))


@pytest.mark.parametrize("look", [check, prepare])
def test_empty_directory_writable_by_everybody_is_refused(place, look):
    os.mkdir(place)
    os.chmod(place, 0o777)
    with pytest.raises(UnusableStore, match="others may write into it"):
        look(place)


@pytest.mark.parametrize("look", [check, prepare])
@pytest.mark.parametrize("slash", ["", "/"])
def test_store_that_is_a_symbolic_link_is_refused(place, look, slash):
    prepare(place)
    os.symlink(place, place + "-link")
    with pytest.raises(UnusableStore, match="symbolic link"):
        look(place + "-link" + slash)


@pytest.mark.parametrize("look", [check, prepare])
def test_store_that_is_not_a_directory_is_refused(place, look):
    write(place, "")
    with pytest.raises(UnusableStore, match="not a directory"):
        look(place)


@pytest.mark.parametrize("look", [check, prepare])
def test_directory_with_other_contents_is_refused_and_unchanged(place, look):
    os.mkdir(place, 0o755)
    write(place + "/thesis.txt", "years of work")
    with pytest.raises(UnusableStore, match="not empty"):
        look(place)
    assert (["thesis.txt"], 0o755) == (os.listdir(place), mode_of(place))


def test_empty_directory_with_a_dotfile_becomes_a_private_store(place):
    os.mkdir(place, 0o755)
    write(place + "/.gitkeep", "")
    assert check(place).name == DEFAULT_HASH
    assert ([".gitkeep"], 0o755) == (os.listdir(place), mode_of(place))
    prepare(place)
    assert (True, 0o700) == (os.path.exists(place + "/FORMAT"), mode_of(place))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"format": 3, "hash": "md5", "id": "x"}', "format 3"),
        ('{"format": 1, "hash": "md5"}', "cannot be read"),
        ('{"format": 1, "hash": 5, "id": "x"}', "cannot be read"),
        ("[]", "cannot be read"),
        ("", "cannot be read"),
        ("{" * 10000, "cannot be read"),
    ],
)
@pytest.mark.parametrize("look", [check, prepare])
def test_invalid_format_file_is_refused(place, look, text, complaint):
    prepare(place)
    os.unlink(place + "/FORMAT")
    write(place + "/FORMAT", text)
    with pytest.raises(UnusableStore, match=complaint):
        look(place)


def test_unknown_algorithm_in_format_is_refused(place):
    prepare(place)
    os.unlink(place + "/FORMAT")
    write(place + "/FORMAT", '{"format": 1, "hash": "sha4", "id": "x"}')
    with pytest.raises(UnknownAlgorithm, match="sha4"):
        check(place)


@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_non_regular_format_file_is_refused_without_blocking(place, kind):
    prepare(place)
    os.rename(place + "/FORMAT", place + "/elsewhere")
    if kind == "symlink":
        os.symlink(place + "/elsewhere", place + "/FORMAT")
    else:
        os.mkfifo(place + "/FORMAT")
    with pytest.raises(UnusableStore):
        check(place)


def test_prepare_names_a_missing_parent_directory(place):
    with pytest.raises(UnusableStore, match="No such file or directory"):
        prepare(place + "/below/nothing")


def test_missing_parent_directory_is_found_before_the_start(place):
    with pytest.raises(UnusableStore, match=r"there is no directory .*below; create it"):
        check(place + "/below/nothing")


def test_prepare_creates_a_missing_shard(place):
    prepare(place)
    os.rmdir(place + "/7f")
    prepare(place)
    assert os.path.isdir(place + "/7f")


def test_prepare_removes_stale_temp_files_and_keeps_others(place):
    prepare(place)
    os.mkdir(place + "/tmp", 0o700)
    dead, living = "0" * 32, "1" * 32
    for name in (dead, living, "of-the-operator"):
        write(f"{place}/tmp/{name}", "half an upload")
    os.chmod(f"{place}/tmp/{dead}", 0o440)
    write(place + "/.probe-dead", "")
    with open(f"{place}/tmp/{living}") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        prepare(place)
        assert {living, "of-the-operator"} == set(os.listdir(place + "/tmp"))
    prepare(place)
    assert ["of-the-operator"] == os.listdir(place + "/tmp")
    assert not os.path.exists(place + "/.probe-dead")


@pytest.mark.parametrize("name", ["write", "fsync", "link", "unlink"])
def test_failed_probe_is_an_unusable_store(place, name):
    prepare(place)

    def fail(called, args):
        if called == name:
            raise OSError(5, "Input/output error")

    with pytest.raises(UnusableStore, match="Input/output error"):
        prepare(place, calls=watched(fail))


@pytest.mark.parametrize("calls", [None, without_tmpfile()], ids=["O_TMPFILE", "named"])
def test_concurrent_processes_prepare_one_store(place, calls):
    reader, writer = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            try:
                os.read(reader, 1)
                os._exit(0 if prepare(place, "sha1", calls).name == "sha1" else 1)
            except BaseException:
                os._exit(2)
        children.append(child)
    os.write(writer, b"x" * len(children))
    statuses = [os.waitpid(child, 0)[1] for child in children]
    os.close(reader)
    os.close(writer)
    assert [0] * len(children) == statuses
    assert set() == set(os.listdir(place)) - {*SHARD_NAMES, "FORMAT", "quarantine", "tmp"}
    assert check(place).name == "sha1"


@pytest.mark.parametrize("name", ["lost+found", "System Volume Information", "$RECYCLE.BIN", ".Trash-1000"])
def test_new_volume_counts_as_empty(place, name):
    os.makedirs(f"{place}/{name}", 0o700)
    os.chmod(place, 0o700)
    check(place)
    assert "sha256" == prepare(place).name


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_file_system_without_hard_links_is_refused_with_the_reason(place, code):
    def link(source, name, **more):
        raise OSError(code, os.strerror(code), source, None, name)

    with pytest.raises(UnusableStore, match="has no hard links, as exFAT; name a directory on"):
        prepare(place, calls=Syscalls(link=link))
