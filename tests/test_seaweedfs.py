"""The SeaweedFS of tests: conditional writes, data after SIGKILL, prefixes apart, what is left behind."""

import glob
import os

import pytest

from tests.planted_tests import run_planted
from tests.seaweedfs import NEEDS, SeaweedFS

pytestmark = NEEDS


def test_prefixes_have_objects_of_their_own(seaweedfs):
    first, second = seaweedfs.make_prefix(), seaweedfs.make_prefix()
    first.write("ab/one", b"1")
    second.write("two", b"2")
    assert [["ab/one"], ["two"]] == [first.names(), second.names()]
    assert [b"1", b"1"] == [first.read("ab/one"), first.below("ab").read("one")]
    first.delete("ab/one")
    assert [] == first.names()
    with pytest.raises(FileNotFoundError):
        first.read("ab/one")


def test_both_conditions_of_a_put_are_honoured(prefix):
    import obstore

    store = prefix.open_store()
    created = {"e_tag": store.put("x", b"1", mode="create")["e_tag"]}
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        store.put("x", b"2", mode="create")
    store.put("x", b"3", mode=created)
    with pytest.raises(obstore.exceptions.PreconditionError):
        store.put("x", b"4", mode=created)
    assert b"3" == prefix.read("x")


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.slow
def test_objects_are_there_after_an_end_and_a_start(tmp_path, how):
    with SeaweedFS(str(tmp_path)) as server:
        prefix, endpoint = server.make_prefix(), server.endpoint
        prefix.write("x", b"kept")
        getattr(server, how)()
        with pytest.raises(Exception, match="error sending request"):
            prefix.read("x")
        server.start()
        assert (endpoint, b"kept") == (server.endpoint, prefix.read("x"))


@pytest.mark.slow
def test_no_process_and_no_socket_is_left(tmp_path):
    before = set(glob.glob("/tmp/seaweedfs-*"))
    with SeaweedFS(str(tmp_path)) as server:
        pid, ports = server.pid, set(server.ports.values())
    assert not os.path.exists(f"/proc/{pid}")
    left = set(glob.glob("/tmp/seaweedfs-*")) - before
    assert [] == [name for name in left if any(str(port) in name for port in ports)]


PLANTED = """
import os
from tests.seaweedfs import NEEDS

pytestmark = NEEDS

def test_uses_seaweedfs(prefix):
    prefix.write("x", b"")

def test_leaves_a_descriptor(prefix):
    os.open(__file__, os.O_RDONLY)
"""


@pytest.mark.slow
def test_connections_to_seaweedfs_are_no_leak_and_others_are(tmp_path):
    printed = run_planted(tmp_path, PLANTED)
    assert "2 passed, 1 error" in printed
    assert "left open: descriptor" in printed
