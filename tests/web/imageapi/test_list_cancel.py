"""Lists of images: cancelled when the client disconnects, limited when concurrent."""

from filestored.images.listings import MAX_LISTINGS, STEP_RECORDS
from tests.web.deferred_jobs import DeferredJobs
from tests.web.imageapi.image_wire import ImageWire, value

LIST = b"GET /imageapi/token/%s/get-image-list/ HTTP/1.1\r\nHost: localhost\r\n\r\n"


def filled(users=1):
    """A client of accounts with many images, whose blocking jobs are deferred, and their tokens."""
    wire = ImageWire()
    tokens = [wire.register(f"user_{number}") for number in range(users)]
    for number in range(users):
        home = f"accounts/user_{number}"
        for image in range(3 * STEP_RECORDS):
            wire.records.create(f"{home}/images/{image:04}", b"not read")
            wire.records.create(
                f"{home}/names/{image}.png", b'{"id": "%04d", "name": "%d.png"}' % (image, image)
            )
    later = DeferredJobs()
    return ImageWire(records=wire.records, run=later), later, tokens


def test_list_is_cancelled_when_the_client_disconnects():
    wire, later, (token,) = filled()
    wire.send(LIST % token.encode())
    later.work()  # the token
    later.work()  # the first step
    assert 1 == len(later.jobs)
    wire.hang_up()
    later.work()
    assert [] == later.jobs


def test_list_of_many_images_is_complete():
    wire, later, (token,) = filled()
    wire.send(LIST % token.encode())
    later.finish()
    (answer,) = wire.answers("GET")
    assert 3 * STEP_RECORDS == len(value(answer))


def test_concurrent_lists_occupy_few_io_threads():
    wire, later, tokens = filled(users=MAX_LISTINGS + 2)
    wires = [wire]
    for _ in range(15):
        more = ImageWire(records=wire.records, run=later)
        more.factory, more.images = wire.factory, wire.images
        more.connect()
        wires.append(more)
    for number, each in enumerate(wires):
        each.send(LIST % tokens[number % len(tokens)].encode())
    later.work()  # the tokens
    while later.jobs:
        assert len(later.jobs) <= MAX_LISTINGS
        later.work()
    assert [3 * STEP_RECORDS] * 16 == [len(value(answer)) for each in wires for answer in each.answers("GET")]
