"""The chart is well-formed SVG whose bars are as long as their values say."""

from xml.etree import ElementTree

import pytest

from bench.chart import LENGTH, OURS, THEIRS, Bar, Group, draw

SVG = "{http://www.w3.org/2000/svg}"


def bars(text):
    """Colour and length of each bar; the first rectangle is the background."""
    found = ElementTree.fromstring(text).iter(f"{SVG}rect")
    return [(bar.get("fill"), float(bar.get("width"))) for bar in found][1:]


def texts(text):
    return [each.text for each in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_fastest_server_has_the_longest_bar():
    drawn = draw("t", [Group("g", [Bar("a", 50, "50", ours=True), Bar("b", 100, "100")])])
    assert [(OURS, LENGTH / 2), (THEIRS, float(LENGTH))] == bars(drawn)


def test_groups_have_separate_scales():
    drawn = draw("t", [Group("g", [Bar("a", 7, "7")]), Group("h", [Bar("a", 9000, "9,000")])])
    assert [LENGTH, LENGTH] == [length for _, length in bars(drawn)]


def test_names_and_notes_are_escaped():
    drawn = draw("<t> & more", [Group("g <1>", [Bar("a & b", 1, '"1"')])])
    assert ["<t> & more", "g <1>", "a & b", '"1"'] == texts(drawn)


@pytest.mark.parametrize("value", [0.0, 1e-9])
def test_zero_value_has_a_visible_bar(value):
    assert all(length >= 1.0 for _, length in bars(draw("t", [Group("g", [Bar("a", value, "")])])))


def test_image_height_holds_all_groups():
    groups = [Group("g", [Bar("a", 1, "1")] * 6)] * 9
    root = ElementTree.fromstring(draw("t", groups))
    lowest = max(float(each.get("y")) for each in root.iter(f"{SVG}text"))
    assert lowest < float(root.get("height"))
