"""The chart is well-formed SVG whose bars are as long as their values say."""

from xml.etree import ElementTree

import pytest

from bench.chart import LENGTH, OURS, THEIRS, Group, ProgressBar, draw

SVG = "{http://www.w3.org/2000/svg}"


def bars(text):
    """Colour and length of each bar; the first rectangle is the paper."""
    found = ElementTree.fromstring(text).iter(f"{SVG}rect")
    return [(bar.get("fill"), float(bar.get("width"))) for bar in found][1:]


def texts(text):
    return [each.text for each in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_the_longest_bar_of_a_group_is_the_fastest_server():
    drawn = draw("t", [Group("g", [ProgressBar("a", 50, "50", ours=True), ProgressBar("b", 100, "100")])])
    assert [(OURS, LENGTH / 2), (THEIRS, float(LENGTH))] == bars(drawn)


def test_each_group_has_its_own_scale():
    drawn = draw("t", [Group("g", [ProgressBar("a", 7, "7")]), Group("h", [ProgressBar("a", 9000, "9,000")])])
    assert [LENGTH, LENGTH] == [length for _, length in bars(drawn)]


def test_names_and_notes_are_written_as_they_are():
    drawn = draw("<t> & more", [Group("g <1>", [ProgressBar("a & b", 1, '"1"')])])
    assert ["<t> & more", "g <1>", "a & b", '"1"'] == texts(drawn)


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_a_server_that_did_nothing_has_a_bar_all_the_same(value):
    assert all(length >= 1.0 for _, length in bars(draw("t", [Group("g", [ProgressBar("a", value, "")])])))


def test_the_paper_is_high_enough_for_what_is_on_it():
    groups = [Group("g", [ProgressBar("a", 1, "1")] * 6)] * 9
    root = ElementTree.fromstring(draw("t", groups))
    lowest = max(float(each.get("y")) for each in root.iter(f"{SVG}text"))
    assert lowest < float(root.get("height"))
