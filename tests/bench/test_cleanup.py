"""Cleanup after a run, of any size."""

from bench.cleanup import PORTION, remove


def test_a_tree_goes_away_with_everything_in_it(tmp_path):
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    for number in range(2 * PORTION + 1):
        (tree / "a" / str(number)).touch()
    (tree / "link").symlink_to("/nonexistent")
    remove(str(tree))
    assert [] == list(tmp_path.iterdir())


def test_what_is_not_there_is_no_error(tmp_path):
    remove(str(tmp_path / "none"))
