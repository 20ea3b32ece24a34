"""Each client reports the status and the text of a refused upload, instead of a broken connection."""

import os
from collections.abc import Iterator

import pytest

from tests.clients.refusals import REFUSALS, refusing_daemons
from tests.clients.uploading_clients import CLIENTS, tools
from tests.daemon_process import Running

pytestmark = pytest.mark.slow

LARGE, SMALLER = pytest.param(30_000_000, id="30MB"), pytest.param(5_000_000, id="5MB")
SIZES = [LARGE, SMALLER] if "FILESTORED_DEEP" in os.environ else [LARGE]
PARAMETERS = [pytest.param(name, marks=[pytest.mark.needs(tool) for tool in tools(name)]) for name in CLIENTS]

WITHOUT_BODY = {("wget file", 401)}
"""Clients that never print the body of this status."""


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    with refusing_daemons(str(tmp_path_factory.mktemp("refusing"))) as started:
        yield started


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("client", PARAMETERS)
def test_client_reports_each_refusal_of_an_upload(daemons, tmp_path, client, size):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(1 << 20) * (size >> 20) + bytes(size & (1 << 20) - 1))
    requests = [(each.method, daemons[each.daemon].url + each.path, each.fields) for each in REFUSALS]
    answers = CLIENTS[client](requests, str(path))
    assert [each.status for each in REFUSALS] == [status for status, _ in answers]
    shown = [
        (answer, each.text)
        for answer, each in zip(answers, REFUSALS, strict=True)
        if (client, each.status) not in WITHOUT_BODY
    ]
    assert [] == [(answer, text) for answer, text in shown if text not in answer[1]]
