"""Several files in one form: responses, groups that are committed together, failures and slots."""

import json
from base64 import b64encode
from errno import ENOSPC
from hashlib import sha256

import pytest

from filestored.digest import algorithm
from filestored.settings import MAX_HELD_FILES
from filestored.storage.admission import UploadSlots
from filestored.storage.memory import MemoryBackend
from tests.web.deferred_jobs import DeferredJobs
from tests.web.forms import BOUNDARY, FORM, form, name_of, part

TWO = form(part(b"one"), part(b"two"))
NAMES = [name_of(b"one").decode(), name_of(b"two").decode()]
LARGE = b"x" * 100_000


def post(wire, body, **fields):
    return wire.ask("POST", "/", body, Content_Type=FORM, **fields)


def stored(wire, data):
    return 200 == wire.ask("GET", "/files/" + name_of(data).decode()).status


def numbered(count, size=0):
    return [b"%d" % number + b"x" * size for number in range(count)]


def head(length):
    return f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n".encode()


# --- responses ----------------------------------------------------------------------------------


def test_hashes_of_several_files_are_lines_in_order(wire):
    answer = post(wire, TWO)
    assert 200 == answer.status
    assert "".join(f"{name}\n" for name in NAMES).encode() == answer.body
    assert all(stored(wire, data) for data in (b"one", b"two"))


def test_json_of_several_files_is_a_list_in_order(wire):
    post(wire, form(part(b"two")))
    answer = post(wire, TWO, Accept="application/json")
    expected = [
        {"hash": name, "algorithm": "sha256", "size": 3, "created": created, "url": f"/files/{name}"}
        for name, created in zip(NAMES, (True, False), strict=True)
    ]
    assert expected == json.loads(answer.body)


def test_json_of_one_file_in_a_form_is_an_object(wire):
    answer = post(wire, form(part(b"one")), Accept="application/json")
    assert NAMES[0] == json.loads(answer.body)["hash"]


@pytest.mark.parametrize(("body", "expected"), [(TWO, False), (form(part(b"one")), True)])
@pytest.mark.parametrize("name", ["location", "etag", "repr-digest"])
def test_validators_are_sent_for_a_single_file_only(wire, body, expected, name):
    assert expected is (name in post(wire, body).fields)


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_same_file_twice_is_listed_twice(wire, accept):
    answer = post(wire, form(part(b"one"), part(b"one")), Accept=accept)
    assert 2 == answer.body.decode().count(f"{NAMES[0]}") // (2 if accept != "*/*" else 1)


@pytest.mark.parametrize(
    ("condition", "status"), [("*", 412), (f'"{NAMES[1]}"', 412), (f'"{NAMES[0]}"', 200)]
)
def test_if_none_match_is_412_when_one_of_several_files_was_stored_before(wire, condition, status):
    post(wire, form(part(b"two")))
    assert status == post(wire, TWO, If_None_Match=condition).status
    assert stored(wire, b"one")


def test_put_of_a_form_stores_the_first_file(wire):
    answer = wire.ask("PUT", f"/files/{NAMES[0]}", TWO, Content_Type=FORM)
    assert (201, NAMES[0].encode()) == (answer.status, answer.body)
    assert not stored(wire, b"two")


@pytest.mark.parametrize("size", [0, 20_000, 100_000])
def test_form_of_more_files_than_a_group_is_stored_in_order(wire, size):
    files = numbered(2 * MAX_HELD_FILES + 3, size)
    answer = post(wire, form(*map(part, files)))
    assert list(map(name_of, files)) == answer.body.splitlines()
    assert 0 == wire.store.uploads_in_flight


# --- failures -----------------------------------------------------------------------------------

BROKEN = [
    TWO[:-4],
    form(part(b"one"), part(b"two"), b"\r\nno disposition"),
    form(
        part(b"one"), part(b"two"), part(b"x", "form-data; filename=x", "Content-Transfer-Encoding: base64")
    ),
]


@pytest.mark.parametrize("body", BROKEN)
def test_form_of_few_files_that_fails_stores_none_of_them(wire, body):
    assert 400 == post(wire, body).status
    assert 0 == wire.store.statistics.uploads
    assert 0 == wire.store.uploads_in_flight


def test_wrong_digest_of_a_form_stores_none_of_its_files(wire):
    field = f"sha-256=:{b64encode(sha256(b'other').digest()).decode()}:"
    assert 422 == post(wire, TWO, Content_Digest=field).status
    assert 0 == wire.store.statistics.uploads


def test_right_digest_of_a_form_of_several_groups_stores_all_files(wire):
    files = numbered(MAX_HELD_FILES + 1, 3_000)
    body = form(*map(part, files))
    field = f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"
    assert list(map(name_of, files)) == post(wire, body, Content_Digest=field).body.splitlines()


def test_files_of_a_form_have_at_most_the_maximum_size_together(make_wire):
    assert 200 == post(make_wire(max_size=6), TWO).status
    wire = make_wire(max_size=5)
    assert 413 == post(wire, TWO).status
    assert 0 == wire.store.statistics.uploads


@pytest.mark.parametrize("files", [1, 3, MAX_HELD_FILES])
def test_disconnect_during_a_form_of_few_files_stores_nothing(wire, files):
    body = form(*map(part, numbered(files, 70_000)))
    wire.send(head(len(body)) + body[:-3])
    assert files == wire.store.uploads_in_flight
    wire.disconnect()
    assert 0 == wire.store.uploads_in_flight
    assert 0 == wire.store.statistics.uploads


@pytest.mark.parametrize("jobs", range(8))
def test_disconnect_while_a_group_is_committed_ends_all_uploads(make_wire, logged, jobs):
    later = DeferredJobs()
    wire = make_wire(run=later)
    body = form(*map(part, numbered(3 * MAX_HELD_FILES, 70_000)))
    wire.send(head(len(body)) + body[:-3])
    for _ in range(jobs):
        later.work()
    wire.disconnect()
    later.finish()
    assert 0 == wire.store.uploads_in_flight
    assert [] == logged()


class FullBackend(MemoryBackend):
    """A backend in which the content ``full`` finds no space."""

    def begin(self):
        sink = super().begin()
        write = sink.write

        def writing(data):
            if bytes(data) == b"full":
                raise OSError(ENOSPC, "full")
            write(data)

        sink.write = writing
        return sink


@pytest.mark.parametrize("before", [0, 2, MAX_HELD_FILES])
def test_file_without_space_fails_the_form(make_wire, before):
    wire = make_wire(FullBackend(algorithm("sha256")))
    answer = post(wire, form(*map(part, [*numbered(before), b"full", *numbered(MAX_HELD_FILES)])))
    assert 507 == answer.status
    assert 0 == wire.store.uploads_in_flight


# --- slots --------------------------------------------------------------------------------------


def test_held_files_of_a_form_share_one_slot(make_wire):
    wire = make_wire(slots=UploadSlots(1))
    files = numbered(2 * MAX_HELD_FILES, 20_000)
    assert list(map(name_of, files)) == post(wire, form(*map(part, files))).body.splitlines()
    assert 200 == wire.ask("POST", "/", LARGE).status


def test_slot_of_a_form_is_held_until_its_last_file(make_wire):
    wire = make_wire(slots=UploadSlots(1, lambda: 0.0))
    body = form(part(LARGE), part(LARGE))
    wire.send(head(len(body)) + body[: len(LARGE) + 1000])
    first, channel, transport = wire, wire.channel, wire.transport
    wire.connect()
    assert 503 == wire.ask("POST", "/", LARGE).status
    first.channel, first.transport = channel, transport
    wire.send(body[len(LARGE) + 1000 :])
    (answer,) = wire.answers("POST")
    assert [name_of(LARGE)] * 2 == answer.body.splitlines()


@pytest.mark.parametrize("arrived", [300, 30_000])
def test_slow_form_is_evicted_with_all_of_its_files(make_wire, arrived):
    moments = [0.0]
    wire = make_wire(slots=UploadSlots(1, lambda: moments[0]))
    body = form(part(LARGE), part(LARGE))
    wire.send(head(len(body)) + body[: len(LARGE) + arrived])
    moments[0] = 60.0
    channel, transport = wire.channel, wire.transport
    wire.connect()
    assert 200 == wire.ask("POST", "/", LARGE + b"other").status
    wire.channel, wire.transport = channel, transport
    wire.send(body[len(LARGE) + arrived :][:10])
    (answer,) = wire.answers("POST")
    assert 503 == answer.status
    assert 0 == wire.store.uploads_in_flight


def test_files_of_a_form_have_together_16_kib_without_a_slot(make_wire):
    wire = make_wire(slots=UploadSlots(1))
    wire.send(head(2 * len(LARGE)).replace(FORM.encode(), b"text/plain") + LARGE)
    wire.connect()
    body = form(part(b"a" * 10_000), part(b"b" * 10_000))
    wire.send(head(len(body)) + body)
    (answer,) = wire.answers("POST")
    assert 503 == answer.status


@pytest.mark.parametrize(
    ("size", "tenths", "seconds", "status"),
    [
        pytest.param(17_000, 5, 1.5, 200, id="slow, though each file arrives quickly"),
        pytest.param(60_000, 9, 0.5, 503, id="fast, though each file is small"),
    ],
)
def test_form_is_evicted_for_the_rate_of_all_its_files(make_wire, size, tenths, seconds, status):
    moments = [0.0]
    wire = make_wire(slots=UploadSlots(1, lambda: moments[0]))
    body = form(*[part(bytes(size)) for _ in range(10)])
    wire.send(head(len(body)))
    for number in range(tenths):
        wire.send(body[number * len(body) // 10 : (number + 1) * len(body) // 10])
        moments[0] += seconds
    wire.connect()
    assert status == wire.ask("POST", "/", LARGE).status


def test_held_file_is_written_to_disk_before_its_commit(make_wire):
    later = DeferredJobs()
    wire = make_wire(run=later)
    mark = BOUNDARY.encode()
    body = form(part(LARGE), part(b"two"))
    wire.send(head(len(body)) + body[: body.rindex(mark) - 4])
    assert ["write"] == [function.__name__ for _, function, _, _ in later.jobs]
    wire.disconnect()
    later.finish()
    assert 0 == wire.store.uploads_in_flight
