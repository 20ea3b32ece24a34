"""Cleanup after a run, of any size."""

from bench.cleanup import BATCH_SIZE, remove


def test_remove_deletes_a_whole_tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    for number in range(2 * BATCH_SIZE + 1):
        (tree / "a" / str(number)).touch()
    (tree / "link").symlink_to("/nonexistent")
    remove(str(tree))
    assert [] == list(tmp_path.iterdir())


def test_remove_of_a_missing_path_is_no_error(tmp_path):
    remove(str(tmp_path / "none"))
