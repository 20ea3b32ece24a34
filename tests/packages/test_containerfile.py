"""The container image: extras of the Debian package, no root, a health check. tests/deep has its life."""

import os
import re

from filestored import __version__
from tests.daemon_process import ROOT, read


def instructions():
    """Return the instructions of the last stage, by their names."""
    text = re.sub(r"\\\n\s*", " ", read(os.path.join(ROOT, "Containerfile")))
    stage = text.rpartition("\nFROM ")[2]
    return dict(re.findall(r"^([A-Z]+) (.*)$", stage, re.MULTILINE))


def test_image_has_the_extras_of_the_debian_package():
    extras = re.search(r"install .*'\.\[(.*)\]'", read(os.path.join(ROOT, "Containerfile")))[1]
    assert f"EXTRAS = {extras}\n" in read(os.path.join(ROOT, "deploy", "debian", "rules"))


def test_image_names_the_version():
    assert f"VERSION={__version__}" == instructions()["ARG"]


def test_image_runs_the_daemon_as_a_number_that_is_not_root():
    found = instructions()
    assert '["filestored", "serve"]' == found["ENTRYPOINT"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["USER"])
    assert "SIGTERM" == found["STOPSIGNAL"]
    assert "/health" in found["HEALTHCHECK"]


def test_owner_of_the_volume_is_the_user():
    found = instructions()
    user, group = found["USER"].split(":")
    assert f"-o {user} -g {group} {found['VOLUME']}" in found["RUN"]
    assert found["WORKDIR"] == found["VOLUME"]


def test_context_of_the_build_has_what_the_build_copies():
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", read(os.path.join(ROOT, "Containerfile")), re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    ignored = read(os.path.join(ROOT, ".dockerignore"))
    assert names == set(re.findall(r"^!(.*)$", ignored, re.MULTILINE))
