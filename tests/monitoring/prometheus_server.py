"""A real Prometheus on a free loopback port, which scrapes daemons each second.

It runs with the files of `deploy/prometheus/`, of which only the targets and the interval are changed. In:
the addresses of ``--metrics``. Out: answers of its HTTP API.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from tests.daemon_process import ROOT, read, until
from tests.tools import find_tool

FILES = os.path.join(ROOT, "deploy", "prometheus")

_open = build_opener(ProxyHandler({})).open


class PrometheusServer:
    """A Prometheus that keeps its data in `directory` and scrapes `targets` while it is entered."""

    def __init__(self, directory: str, targets: Sequence[str], interval: str = "1s") -> None:
        self.directory = directory
        self.url = ""
        self._targets = len(targets)
        os.makedirs(directory)
        shutil.copy(os.path.join(FILES, "alerts.yml"), directory)
        text = read(os.path.join(FILES, "prometheus.yml"))
        text = re.sub(r"targets: \[.*\](?=\n*\Z)", f"targets: {json.dumps(list(targets))}", text)
        with open(os.path.join(directory, "prometheus.yml"), "w", encoding="utf-8") as file:
            file.write(re.sub(r"(_interval): 15s", rf"\1: {interval}", text))

    def __enter__(self) -> Self:
        output = os.path.join(self.directory, "output")
        with open(output, "wb") as file:
            self._process = subprocess.Popen(
                [
                    find_tool("prometheus") or "prometheus",
                    f"--config.file={self.directory}/prometheus.yml",
                    f"--storage.tsdb.path={self.directory}/data",
                    "--web.listen-address=127.0.0.1:0",
                ],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        try:
            until(lambda: "ready to receive" in read(output) or self._process.poll() is not None, "ready")
            address = re.search(r'"Listening on" address=(\S+)', read(output))
            assert address, read(output)
        except BaseException:
            self._end()
            raise
        self.url = f"http://{address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now, each with `metric` and `value`."""
        return self._get("query", {"query": expression})["result"]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of an expression, each with `metric` and `values`; times in seconds."""
        parameters = {"query": expression, "start": start, "end": end, "step": step}
        return self._get("query_range", parameters)["result"]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts of all rules, each with its `name`, `health` and `state`."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def wait_for_scrape(self, after: float) -> None:
        """Wait until each target has answered a scrape that began after this time, a Unix time."""
        query = f'count(up{{job="filestored"}} == 1 and timestamp(up{{job="filestored"}}) > {after:.3f})'
        until(lambda: self._count(query) == self._targets, f"scraped after {after}")

    def _count(self, query: str) -> int:
        return sum(int(series["value"][1]) for series in self.query(query))

    def _get(self, call: str, parameters: Mapping[str, object]) -> Any:
        with _open(f"{self.url}/api/v1/{call}?{urlencode(parameters)}", timeout=30) as response:
            answer = json.load(response)
        assert "success" == answer["status"], answer
        return answer["data"]

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()
