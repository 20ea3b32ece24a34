"""Files that had other names before their store moved to its algorithm, as clients see them."""

from hashlib import md5, sha256

import pytest

from filestored.digest import Digest, algorithm
from filestored.storage.memory import MemoryBackend
from tests.storage.md5_collision import COLLIDING

DATA = b"stored when names were md5"
FORMER, PRESENT = md5(DATA).hexdigest(), sha256(DATA).hexdigest()
ABSENT = md5(b"absent").hexdigest()
SHA256 = algorithm("sha256")


@pytest.fixture
def moved(make_wire):
    """A connection to a sha256 store that was an md5 store once."""
    former = {Digest("md5", FORMER): Digest("sha256", PRESENT)}
    wire = make_wire(MemoryBackend(SHA256, aliases=former), SHA256)
    assert wire.ask("POST", "/", DATA).body == PRESENT.encode()
    return wire


@pytest.mark.parametrize("place", ["/files/{}", "/?file_hash={}", "/?hash={}"])
@pytest.mark.parametrize("name", [FORMER, PRESENT])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_either_name_is_answered_with_its_own_tag(moved, place, name, method):
    answer = moved.ask(method, place.format(name))
    assert (200, DATA if method == "GET" else b"") == (answer.status, answer.body)
    assert (f'"{name}"', str(len(DATA))) == (answer.fields["etag"], answer.fields["content-length"])


def test_a_copy_from_before_the_move_is_still_good(moved):
    assert moved.ask("GET", f"/files/{FORMER}", If_None_Match=f'"{FORMER}"').status == 304
    answer = moved.ask("GET", f"/files/{FORMER}", Range="bytes=7-", If_Range=f'"{FORMER}"')
    assert (206, DATA[7:]) == (answer.status, answer.body)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_former_name_that_no_file_had_is_404(moved, method):
    assert moved.ask(method, f"/files/{ABSENT}").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("name", ["0" * 31, "0" * 40, "g" * 32])
def test_a_name_of_neither_algorithm_is_400(moved, method, name):
    assert moved.ask(method, f"/files/{name}").status == 400


@pytest.mark.parametrize("name", [FORMER, PRESENT])
def test_a_delete_by_either_name_takes_both(moved, name):
    assert moved.ask("DELETE", f"/files/{name}").status == 200
    assert [404, 404] == [moved.ask("GET", f"/files/{each}").status for each in (FORMER, PRESENT)]
    assert moved.ask("DELETE", f"/files/{name}").status == 404


def test_a_delete_by_a_former_name_keeps_to_its_condition(moved):
    assert moved.ask("DELETE", f"/files/{FORMER}", If_Match=f'"{PRESENT}"').status == 412
    assert moved.ask("DELETE", f"/files/{FORMER}", If_Match=f'"{FORMER}"').status == 200


def test_an_upload_under_a_former_name_is_400_and_stores_nothing(moved):
    assert moved.ask("PUT", f"/files/{ABSENT}", b"absent").status == 400
    assert moved.ask("GET", f"/files/{sha256(b'absent').hexdigest()}").status == 404


def test_colliding_files_are_two_in_a_sha256_store(wire):
    names = [wire.ask("POST", "/", data).body.decode() for data in COLLIDING]
    assert list(COLLIDING) == [wire.ask("GET", f"/files/{name}").body for name in names]


def test_the_second_of_colliding_files_is_409_in_an_md5_store(make_wire):
    wire = make_wire(algorithm=algorithm("md5"))
    assert [200, 409] == [wire.ask("POST", "/", data).status for data in COLLIDING]
    assert COLLIDING[0] == wire.ask("GET", f"/files/{md5(COLLIDING[1]).hexdigest()}").body
