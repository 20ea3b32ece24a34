"""Usable processors: the smallest CPU quota of the control group and of those above it."""

import os

import pytest

from filestored.daemon.startup.processors import limited_by_quota, usable_processors

V2 = "0::/a/b\n"
HYBRID = "9:name=systemd:/\n1:cpu:/x\n0::/a/b\n"


@pytest.mark.parametrize(
    ("expected", "groups", "quotas"),
    [
        (8, V2, {}),
        (8, None, {}),
        (8, V2, {"": "max 100000\n", "/a": "max 100000\n", "/a/b": "max 100000\n"}),
        (2, V2, {"/a/b": "200000 100000\n"}),
        (2, V2, {"/a/b": "150000 100000\n"}),
        (1, V2, {"/a/b": "50000 100000\n"}),
        (1, V2, {"/a/b": "1000 1000000\n"}),
        (3, V2, {"/a": "300000 100000\n", "/a/b": "max 100000\n"}),
        (1, V2, {"/a": "100000 100000\n", "/a/b": "400000 100000\n"}),
        (3, "0::/\n", {"": "300000 100000\n"}),
        (3, None, {"": "300000 100000\n"}),
        (2, HYBRID, {"/a/b": "200000 100000\n"}),
        (8, "1:cpu:/x\n", {"/x": "100000 100000\n"}),
        (8, V2, {"/a/b": "900000 100000\n"}),
        (8, V2, {"/a/b": "\n"}),
        (8, V2, {"/a/b": "0 0\n"}),
        (8, V2, {"/a/b": "-1 100000\n"}),
        (8, V2, {"/a/b": "many 100000\n"}),
    ],
)
def test_smallest_quota_rounded_up_limits_the_processors(expected, groups, quotas):
    files = {f"/sys/fs/cgroup{name}/cpu.max": text for name, text in quotas.items()}
    if groups is not None:
        files["/proc/self/cgroup"] = groups

    def read(path):
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    assert expected == limited_by_quota(8, read)


def test_usable_processors_are_at_most_those_of_the_affinity():
    assert 1 <= usable_processors() <= len(os.sched_getaffinity(0))
