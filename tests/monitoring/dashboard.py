"""The dashboard for Grafana: its panels, and their queries as Prometheus takes them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.docs.pages import text

PATH = ("deploy", "grafana", "filestored.json")

VARIABLES = {"$instance": ".*", "$__rate_interval": "1m"}
"""Values of the variables of Grafana in a query."""

SELECTOR = re.compile(r"\b((?:filestored_\w+|up)\b(?:\{[^}]*\})?)")
"""A name of a metric of the daemon, with its labels."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel, without variables."""

    panel: str
    expression: str


def load() -> dict[str, Any]:
    """Return the dashboard."""
    return dict(json.loads(text(*PATH)))


def panels() -> list[dict[str, Any]]:
    """Return all panels that are no rows."""
    return [panel for panel in load()["panels"] if "row" != panel["type"]]


def queries() -> Iterator[Query]:
    """Yield the queries of all panels."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel["title"], replaced(target["expr"]))


def annotations() -> Iterator[Query]:
    """Yield the queries of the events that are marked in all panels."""
    for annotation in load()["annotations"]["list"]:
        if "expr" in annotation:
            yield Query(annotation["name"], replaced(annotation["expr"]))


def replaced(expression: str) -> str:
    """Return a query with values in the place of variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def selectors(expression: str) -> set[str]:
    """Return the selectors of series in an expression, each with its labels."""
    return set(SELECTOR.findall(expression))
