"""Line charts are well-formed SVG whose points lie where their values say."""

from xml.etree import ElementTree

import pytest

from bench.chart import WIDTH
from bench.line_chart import PLOT_HEIGHT, PLOT_WIDTH, Chart, Line, draw, format_value, round_up

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*charts, seconds=60.0):
    return ElementTree.fromstring(draw("Title", charts, seconds))


def points(root):
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.iter(f"{SVG}polyline")
    ]


def texts(root):
    return [each.text for each in root.iter(f"{SVG}text")]


def test_line_reaches_from_the_origin_to_the_end_of_both_scales():
    ((first, last),) = points(drawn(Chart("c", "s", [Line("a", [(0, 0.0), (60, 5.0)])])))
    assert (pytest.approx(PLOT_WIDTH), pytest.approx(PLOT_HEIGHT)) == (last[0] - first[0], first[1] - last[1])


def test_charts_have_separate_scales():
    charts = [Chart("c", "", [Line("a", [(0, top)])]) for top in (5, 5000)]
    ((small,), (large,)) = points(drawn(*charts))
    assert small[1] == large[1]
    assert WIDTH // 2 == large[0] - small[0]


def test_lines_of_one_chart_have_one_scale():
    root = drawn(Chart("c", "", [Line("a", [(0, 10)]), Line("b", [(0, 5)])]))
    ((below,), (above,)) = points(root)  # the first line is drawn last, above the others
    assert pytest.approx(PLOT_HEIGHT / 2) == below[1] - above[1]


def test_line_of_zeros_and_chart_without_lines_are_drawn():
    root = drawn(Chart("c", "", [Line("a", [(0, 0.0), (60, 0.0)])]), Chart("d", "", []))
    assert 1 == len(points(root))
    assert {"c", "d"} <= set(texts(root))


def test_names_are_in_the_legend_and_escaped():
    assert "a & <b>" in texts(drawn(Chart("c", "", [Line("a & <b>", [(0, 1)])])))


def test_long_legend_has_a_second_row_within_its_chart():
    names = [f"a reason {number}" for number in range(8)]
    root = drawn(Chart("c", "", [Line(name, [(0, 1)]) for name in names]))
    rows = {name: each.get("y") for each in root.iter(f"{SVG}text") if (name := each.text) in names}
    assert 2 == len(set(rows.values()))
    assert max(float(each.get("x")) for each in root.iter(f"{SVG}text")) < WIDTH // 2


def test_picture_holds_all_charts():
    root = drawn(*[Chart("c", "", [Line("a", [(0, 1)])])] * 7)
    lowest = max(float(each.get("y")) for each in root.iter(f"{SVG}text"))
    rightmost = max(x for line in points(root) for x, _ in line)
    assert lowest < float(root.get("height"))
    assert rightmost < WIDTH


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "s", "0"),
        (0.0025, "s", "2.5 ms"),
        (5000.0, "s", "5000 s"),
        (3e7, "B/s", "30 MB/s"),
        (1500, "", "1.5 k"),
        (12, "/s", "12/s"),
    ],
)
def test_value_has_prefix_and_unit(value, unit, expected):
    assert expected == format_value(value, unit)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 1.0), (0.9, 1.0), (1, 1.0), (1.1, 2.0), (2.2, 2.5), (26, 50.0), (0.003, 0.005)],
)
def test_scale_ends_at_a_round_number(value, expected):
    assert pytest.approx(expected) == round_up(value)
