"""A task that is due once: one process does it, and it stays due until it is done."""

import os

import pytest

from filestored.images.orphans.sweep_marker import claimed_sweep, request_sweep


@pytest.fixture
def mark(tmp_path):
    return str(tmp_path / ".due")


def test_marker_is_claimed_once_per_request(mark):
    seen = []
    for requests in (0, 1, 0, 2, 0):
        for _ in range(requests):
            request_sweep(mark)
        with claimed_sweep(mark) as is_claimed:
            seen.append(is_claimed)
    assert [False, True, False, True, False] == seen


def test_claimed_marker_cannot_be_claimed_again(mark):
    request_sweep(mark)
    with claimed_sweep(mark) as first, claimed_sweep(mark) as second:
        assert (True, False) == (first, second)
    with claimed_sweep(mark) as third:
        assert not third


def test_marker_of_a_failed_run_stays(mark):
    request_sweep(mark)
    with pytest.raises(RuntimeError), claimed_sweep(mark):
        raise RuntimeError
    with claimed_sweep(mark) as again:
        assert again


def test_marker_of_a_dead_process_stays(mark):
    request_sweep(mark)
    child = os.fork()
    if child == 0:
        with claimed_sweep(mark) as is_claimed:
            os._exit(9 if is_claimed else 1)
    assert 9 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with claimed_sweep(mark) as again:
        assert again


def test_one_of_many_processes_claims_the_marker(mark):
    request_sweep(mark)
    tried, try_end = os.pipe()
    go, go_end = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os.close(go_end)
            with claimed_sweep(mark) as is_claimed:
                os.write(try_end, b"x")
                os.read(go, 1)  # until all have tried
                os._exit(0 if is_claimed else 1)
        children.append(child)
    assert 8 == sum(len(os.read(tried, 1)) for _ in children)
    for descriptor in (go_end, go, tried, try_end):
        os.close(descriptor)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert [0] + [1] * 7 == sorted(ends)


@pytest.mark.parametrize("where", ["missing/.due", "file/.due"])
def test_marker_that_cannot_be_created_is_no_error(tmp_path, where):
    (tmp_path / "file").write_bytes(b"")
    request_sweep(str(tmp_path / where))
    with claimed_sweep(str(tmp_path / where)) as is_claimed:
        assert not is_claimed
