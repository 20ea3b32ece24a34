"""Backups beside a daemon under load, and their restore, by the commands of the page on backups."""

import hashlib

import pytest

from tests.deep.backup import TOOLS, damage_to_files, rehearse
from tests.deep.bench import Bench
from tests.deep.clients import Damage, Memory


@pytest.fixture
def bench(tmp_path):
    """A directory of the proof, with load as short as possible."""
    made = Bench(str(tmp_path), seconds=0.2)
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.needs("rsync")
@pytest.mark.needs("rclone")
def test_copies_of_a_daemon_under_load_are_restored_without_differences(bench):
    found = rehearse(bench)
    assert set(TOOLS) == set(found)
    assert [] == [f"{tool}: {result}" for tool, result in found.items() if result.differs]


def test_proof_of_backups_counts_lost_files_files_that_are_back_and_half_files(tmp_path):
    whole, half, lost = (hashlib.sha256(content).hexdigest() for content in (b"whole", b"half", b"lost"))
    for name, content in ((whole, b"whole"), (half, b"ha")):
        (tmp_path / name[:2]).mkdir()
        (tmp_path / name[:2] / name).write_bytes(content)
    memory = Memory(files={whole: b"whole", lost: b"lost"})
    assert Damage(lost=1, wrong=1) == damage_to_files(str(tmp_path), memory)
    assert Damage(back=1, wrong=1) == damage_to_files(str(tmp_path), Memory(deleted_files={whole}))
