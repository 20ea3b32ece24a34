"""Who is at work in a directory: the first is alone, and the others wait for what it does."""

import os

import pytest

from filestored.storage.presence import arrive
from filestored.storage.records import prepare


@pytest.fixture
def shared(place):
    prepare(place, "images")
    return place


def test_the_first_is_alone_and_the_next_is_not(shared):
    calls = []
    first = arrive(shared, lambda: calls.append("first"))
    second = arrive(shared, lambda: calls.append("second"))
    assert ["first"] == calls
    os.close(first)
    third = arrive(shared, lambda: calls.append("third"))
    assert ["first"] == calls
    for descriptor in (second, third):
        os.close(descriptor)
    os.close(arrive(shared, lambda: calls.append("fourth")))
    assert ["first", "fourth"] == calls


def test_of_many_processes_one_is_alone_and_all_others_wait_for_it(shared):
    """Each that has arrived must find what the one who was alone has done."""
    mark = shared + "/mark"
    reader, writer = os.pipe()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            os.close(writer)
            try:
                arrive(shared, lambda: os.makedirs(mark, exist_ok=True))
                seen = os.path.isdir(mark)
                os.read(reader, 1)  # until all have arrived
                os._exit(0 if seen else 1)
            except BaseException:
                os._exit(2)
        children.append(child)
    os.close(reader)
    os.close(writer)
    assert [0] * 8 == [os.waitpid(child, 0)[1] for child in children]


def test_who_fails_alone_leaves_nobody_waiting(shared):
    def fail():
        raise RuntimeError("the sweep failed")

    with pytest.raises(RuntimeError):
        arrive(shared, fail)
    calls = []
    os.close(arrive(shared, lambda: calls.append("next")))
    assert ["next"] == calls
