"""Units, scripts, commands of the README, and metadata of the package are correct."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from filestored import __version__
from filestored.daemon.options import Options
from tests.daemon_process import ROOT, TWISTD, read

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/twistd -n filestored"
PAGES = [
    "README.md", "README.ru.md", "CHANGELOG.md",
    "docs/benchmarks.md", "docs/install.md", "docs/migration.md",
]  # fmt: skip
CHECK = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python -m pytest"


def text(*names):
    return read(os.path.join(ROOT, *names))


@pytest.mark.parametrize("page", ["README.md", "README.ru.md"])
def test_both_readmes_have_the_first_commands_and_every_option(page):
    assert INSTALL in text(page)
    assert CHECK in text(page)
    options = [name for name, *_ in Options.optParameters + Options.optFlags]
    assert [] == [name for name in ("listen", *options) if f"| `--{name}" not in text(page)]


def test_ci_runs_the_test_command_of_the_readme():
    assert CHECK in text(".ci", "run")
    assert "run: bash .ci/run" in text(".github", "workflows", "checks.yml")


def test_ci_installs_every_tool_that_a_test_needs():
    tools = set()
    for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in [name for name in names if name.endswith(".py")]:
            tools |= set(re.findall(r'mark\.needs\("([^"]+)"', text(folder, name)))
    assert {"curl", "wget", "openssl"} <= tools
    of_python = {"http", "weed", "obstore"}  # httpie and SeaweedFS, from the extras "test" and "test-s3"
    of_node = set(json.loads(text("tests", "clients", "package.json"))["dependencies"])
    assert [] == sorted(
        tool for tool in tools - of_python - of_node if f"[{tool}]=" not in text(".ci", "run")
    )
    assert "npm install --prefix tests/clients " in text(".ci", "run")
    assert "pip install -q -e '.[dev,test-s3]'" in text(".ci", "run")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_leads_somewhere(page):
    here = os.path.dirname(os.path.join(ROOT, page))
    targets = re.findall(r"""(?:\]\(|src="|href=")([^)\s"#]+)""", text(page))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [] == [target for target in local if not os.path.exists(os.path.join(here, target))]


def test_twistd_finds_the_plugin():
    assert "filestored" in [maker.tapname for maker in getPlugins(IServiceMaker)]


def test_the_plugin_folders_are_no_packages():
    for folder in ("twisted", os.path.join("twisted", "plugins")):
        assert "__init__.py" not in os.listdir(os.path.join(ROOT, folder))


@pytest.mark.needs("shellcheck")
@pytest.mark.parametrize("path", ["deploy/filestored.init", "deploy/filestored-admin", ".ci/run"])
def test_shell_script_passes_shellcheck(path):
    done = subprocess.run(["shellcheck", path], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "" == done.stdout


@pytest.mark.needs("systemd-analyze")
def test_the_unit_is_sandboxed():
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "deploy/filestored.service"],
        cwd=ROOT,
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    score = re.search(r"exposure level for filestored.service: ([0-9.]+)", done.stdout)
    assert score, done.stderr
    assert float(score[1]) <= 1.5


@pytest.mark.needs("systemd-analyze")
def test_the_unit_allows_every_system_call_by_which_decoders_confine_themselves():
    """`@system-service` of systemd 252 lacks those of Landlock, which would be missing then."""
    with open(os.path.join(ROOT, "deploy", "filestored.service"), encoding="utf-8") as file:
        lines = re.findall(r"^SystemCallFilter=(.*)$", file.read(), re.MULTILINE)
    allowed = set()
    for line in lines:
        words = line.removeprefix("~").split()
        calls = {call for word in words for call in (_calls(word) if word.startswith("@") else {word})}
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    needed = {"landlock_create_ruleset", "landlock_restrict_self", "prctl", "prlimit64", "close_range"}
    assert set() == needed - allowed


@pytest.fixture
def admin(tmp_path):
    """Run ``filestored-admin`` with a ``systemd-run`` that prints its arguments; return them."""
    (tmp_path / "systemd-run").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "systemd-run").chmod(0o755)

    def run(*words):
        done = subprocess.run(
            [os.path.join(ROOT, "deploy", "filestored-admin"), *words],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()

    return run


def test_commands_of_the_operator_run_as_the_user_of_the_unit_in_its_directory(admin):
    words = admin("account", "add", "a b", "--images", "images")
    properties = {after for before, after in pairwise(words) if before == "-p"}
    unit = set(text("deploy", "filestored.service").splitlines())
    assert {"WorkingDirectory=/var/lib/filestored"} == properties - unit
    assert {"User=filestored", "DynamicUser=yes", "StateDirectory=filestored", "UMask=0077"} <= properties
    program = words.index("/opt/filestored/bin/filestored")
    assert ["account", "add", "a b", "--images", "images"] == words[program + 1 :]


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_units_and_the_properties_of_the_command(admin, tmp_path):
    words = admin("account", "list")
    properties = [after for before, after in pairwise(words) if before == "-p"]
    lines = ["[Service]", "Type=oneshot", f"ExecStart={sys.executable}", *properties]
    (tmp_path / "filestored-admin.service").write_text("\n".join([*lines, ""]))
    for name in ("filestored.service", "filestored.socket"):
        unit = text("deploy", name).replace("/opt/filestored/bin/twistd", sys.executable)
        (tmp_path / name).write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.glob("filestored*")))],
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": "", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [] == [line for line in done.stderr.splitlines() if "filestored" in line]
    assert 0 == done.returncode, done.stderr


def _calls(group):
    """The system calls of one of systemd's groups, and of those that it includes."""
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", group],
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    words = [
        word for word in done.stdout.split("\n")[1:] if word.strip() and not word.strip().startswith("#")
    ]
    return {
        call for word in map(str.strip, words) for call in (_calls(word) if word.startswith("@") else {word})
    }


@pytest.fixture
def script(tmp_path):
    """The SysV script with settings of this test; ends what it has started."""
    port_file = tmp_path / "home" / "s"
    (tmp_path / "home").mkdir()
    (tmp_path / "twistd").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {TWISTD} "$@"\n')
    (tmp_path / "twistd").chmod(0o755)
    (tmp_path / "defaults").write_text(
        f"TWISTD={tmp_path}/twistd\nRUNAS=\nHOME_DIR={tmp_path}/home\nPIDFILE={tmp_path}/pid\n"
        f"LOGFILE={tmp_path}/logs/log\nOPTIONS='--workers 1 --listen unix:{port_file}'\n"
    )

    def run(action):
        return subprocess.run(
            [os.path.join(ROOT, "deploy", "filestored.init"), action],
            env={**os.environ, "FILESTORED_DEFAULTS": str(tmp_path / "defaults")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield run
    run("stop")


def test_init_script_starts_restarts_and_stops(script, tmp_path):
    assert (3, 2) == (script("status").returncode, script("nonsense").returncode)
    assert 0 == script("start").returncode
    first = read(tmp_path / "pid").strip()
    assert 0 == script("status").returncode
    assert f"process {first}" in script("start").stdout
    assert 0 == script("restart").returncode
    second = read(tmp_path / "pid").strip()
    assert first != second
    assert 0 == script("force-reload").returncode
    assert 0 == script("stop").returncode
    assert (0, 3) == (script("stop").returncode, script("status").returncode)
    assert 3 == read(tmp_path / "logs" / "log").count(f"filestored {__version__} starts\n")


def test_init_script_reports_and_replaces_a_stale_pidfile(script, tmp_path):
    (tmp_path / "pid").write_text("1")
    assert 1 == script("status").returncode
    (tmp_path / "pid").write_text("4194304")
    assert 0 == script("start").returncode
    assert 0 == script("status").returncode
    assert 0 == script("stop").returncode
    (tmp_path / "pid").write_text("1")
    assert 0 == script("start").returncode
    assert 0 == script("status").returncode


@pytest.mark.parametrize("number", ["1", "4194304", "nonsense"])
def test_init_script_removes_a_stale_pidfile_at_a_stop(script, tmp_path, number):
    (tmp_path / "pid").write_text(number)
    assert (0, 3) == (script("stop").returncode, script("status").returncode)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("action", ["status", "start", "stop", "reload", "try-restart", "restart"])
def test_init_script_answers_4_to_a_user_who_may_not_read_the_pidfile(action):
    with TemporaryDirectory() as top:  # other users cannot reach those of pytest
        os.chmod(top, 0o755)
        (Path(top) / "defaults").write_text(f"PIDFILE={top}/pid\nTWISTD=/bin/true\nRUNAS=\n")
        (Path(top) / "pid").write_text(f"{os.getpid()}\n\n")
        (Path(top) / "pid").chmod(0o600)
        shutil.copy(os.path.join(ROOT, "deploy", "filestored.init"), f"{top}/init")
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"{top}/init", action],
            env={**os.environ, "FILESTORED_DEFAULTS": f"{top}/defaults"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (4, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
        assert (Path(top) / "pid").exists()


def test_init_script_removes_the_pidfile_that_the_daemon_cannot_remove(script, tmp_path):
    """A daemon without privileges cannot remove files of ``/run``."""
    (tmp_path / "twistd").write_text(
        f"#!/bin/bash\n(exec -a twistd sleep 60) >{tmp_path}/out 2>&1 &\necho $! >{tmp_path}/pid\n"
    )
    assert (0, 0) == (script("start").returncode, script("status").returncode)
    assert (0, 3) == (script("stop").returncode, script("status").returncode)


def test_init_script_reports_a_missing_user_and_starts_once_there_is_one(script, tmp_path):
    defaults = read(tmp_path / "defaults")
    new = f"{defaults}RUNAS=no-such-user\nHOME_DIR={tmp_path}/new\n"
    (tmp_path / "defaults").write_text(new)
    done = script("start")
    assert (6, 1) == (done.returncode, done.stderr.count("\n"))
    assert "there is no user no-such-user" in done.stderr
    assert 3 == script("status").returncode
    assert not (tmp_path / "new").exists()
    (tmp_path / "defaults").write_text(f"{new}RUNAS=\n")
    assert (0, 0) == (script("start").returncode, script("status").returncode)


def test_init_script_has_the_actions_of_lsb(script, tmp_path):
    assert (0, 3, 7) == tuple(script(each).returncode for each in ("try-restart", "status", "reload"))
    assert (0, 0) == (script("start").returncode, script("start").returncode)
    first = read(tmp_path / "pid")
    assert (0, 0) == (script("reload").returncode, script("try-restart").returncode)
    assert first != read(tmp_path / "pid")
    assert "log files reopened" in read(tmp_path / "logs" / "log")


def test_init_script_reports_a_missing_program(script, tmp_path):
    os.unlink(tmp_path / "twistd")
    done = script("start")
    assert (5, 1) == (done.returncode, done.stderr.count("\n"))


@pytest.mark.needs("curl")
@pytest.mark.needs("wget")
@pytest.mark.needs("aria2c")
def test_examples_of_the_readme_work(daemon, tmp_path):
    (examples,) = re.findall(r"^```sh\n(echo .*?)^```", text("README.md"), re.MULTILINE | re.DOTALL)
    script = examples.replace("curl ", "curl -sS --fail-with-body ").replace(
        "localhost:9000", f"127.0.0.1:{daemon.port}"
    )
    done = subprocess.run(
        ["sh", "-ex"], input=script, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
    assert 4 <= done.stdout.count("a1725bba7370e40aa78d688cc99089fcdf3d7a9d85e11e430ab83a8dceb755dc")
    assert "Hello, files\n" == read(tmp_path / "again.txt") == read(tmp_path / "eightfold.txt")
    assert '"size": 13' in done.stdout
