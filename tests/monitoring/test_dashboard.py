"""The dashboard for Grafana is complete and well-formed; `test_series` asks a Prometheus for its series."""

import re
from itertools import combinations

import pytest

from tests.monitoring.dashboard import VARIABLES, annotations, load, panels, queries, selectors

COLUMNS = 24
"""Columns of Grafana's grid."""


def titles(found):
    return [panel["title"] for panel in found]


def overlap(one, other):
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_rows_are_in_the_order_of_an_operator():
    rows = [panel for panel in load()["panels"] if "row" == panel["type"]]
    expected = [
        *("Overview", "Requests and latencies", "Uploads", "Errors and refusals", "Space"),
        *("Verification", "Workers and connections"),
    ]
    assert expected == titles(rows)


def test_ids_and_titles_of_panels_are_unique():
    found = load()["panels"]
    assert len(found) == len({panel["id"] for panel in found})
    assert len(found) == len(set(titles(found)))


def test_no_panel_overlaps_another_one_or_the_edge():
    places = {panel["title"]: panel["gridPos"] for panel in load()["panels"]}
    assert [] == [(a, b) for a, b in combinations(places, 2) if overlap(places[a], places[b])]
    assert [] == [title for title, place in places.items() if not 0 < place["w"] <= COLUMNS - place["x"]]


def test_panels_stand_in_the_order_of_their_places():
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in load()["panels"]]
    assert sorted(places) == places


@pytest.mark.parametrize("panel", panels(), ids=titles(panels()))
def test_panel_has_description_unit_and_queries(panel):
    assert re.fullmatch(r"[A-Z0-9].*\.", panel["description"]), panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))
    for part in (panel, *panel["targets"]):
        assert {"type": "prometheus", "uid": "${datasource}"} == part["datasource"]


def test_variables_choose_the_data_source_and_the_daemons():
    variables = {each["name"]: each for each in load()["templating"]["list"]}
    assert ["datasource", "instance"] == list(variables)
    assert "prometheus" == variables["datasource"]["query"]
    assert "label_values(filestored_build_info, instance)" == variables["instance"]["query"]["query"]
    assert "${datasource}" == variables["instance"]["datasource"]["uid"]


def test_queries_use_no_other_variables():
    for query in (*queries(), *annotations()):
        assert "$" not in query.expression, f"{query.panel}: not one of {list(VARIABLES)}"


def test_each_series_is_that_of_the_chosen_daemons():
    for query in (*queries(), *annotations()):
        assert selectors(query.expression), query.panel
        for selector in selectors(query.expression):
            assert 'instance=~".*"' in selector, query.panel
