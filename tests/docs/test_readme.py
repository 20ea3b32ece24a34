"""READMEs in two languages: the same facts as the code, examples that run, short sentences."""

import hashlib
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import requests

from filestored.cli import main
from filestored.daemon.options import Options
from tests.daemon_process import ROOT, TIMEOUT
from tests.docs.pages import code, commands, long_sentences, run, run_in, sentences_without_actor, text
from tests.engine_daemons import free_port
from tests.images.decodable_images import SAMPLES
from tests.seaweedfs import ACCESS_KEY, NEEDS, SECRET_KEY

PAGES = ("README.md", "README.ru.md")
DROP_IN_PAGES = [f"docs/{name}.md" for name in ("access", "install", "monitoring", "object-store", "tls")]
DROP_INS = 7


def drop_ins() -> list[str]:
    """Return the files that pages add to the unit: other clients, TLS, an object store, an access file."""
    blocks = [block for page in DROP_IN_PAGES for block in code(page, "ini")]
    return [block for block in blocks if block.startswith("[Service]\n")]


def first_cells(page: str) -> list[str]:
    """Return the code in the first cell of each row of the tables."""
    cells = re.findall(r"^\| ((?:[^|\\]|\\.)*) \|", text(page), re.MULTILINE)
    return [" ".join(re.findall(r"`[^`]+`|\b[0-9]{3}\b", cell)) for cell in cells]


def options(page: str) -> dict[str, str]:
    """Return the row of each option in the table of options."""
    return {found[1]: found[0] for found in re.finditer(r"^\| `--([a-z-]+).*$", text(page), re.MULTILINE)}


def statuses(page: str) -> set[str]:
    """Return the statuses in the table of errors."""
    cells = re.findall(r"^\| ([45][\d, ]+) \|", text(page), re.MULTILINE)
    return {status for cell in cells for status in cell.split(", ")}


def block_with(part: str) -> str:
    (block,) = [block for block in commands("README.md") if part in block]
    return block


def test_both_readmes_have_the_same_commands():
    assert commands("README.md") == commands("README.ru.md")


def test_both_readmes_have_the_same_tables():
    assert first_cells("README.md") == first_cells("README.ru.md")


def test_both_readmes_have_the_same_headings_and_links():
    shape = re.compile(r"^#+ |\]\((?!#|README)[^)]+\)", re.MULTILINE)
    assert shape.findall(text("README.md")) == shape.findall(text("README.ru.md"))


@pytest.mark.parametrize("page", PAGES)
def test_table_of_options_has_exactly_the_options_of_the_daemon(page):
    repeatable = {name[4:].replace("_", "-") for name in vars(Options) if name.startswith("opt_")}
    others = {name for name, *_ in Options.optParameters + Options.optFlags}
    assert repeatable - {"version"} | others == set(options(page))


@pytest.mark.parametrize("page", PAGES)
def test_table_of_options_has_the_defaults_of_the_daemon(page):
    rows = options(page)
    defaults = {name: default for name, _, default, _ in Options.optParameters if default is not None}
    assert {} == {name: rows[name] for name in defaults if f"| `{defaults[name]}` |" not in rows[name]}


@pytest.mark.parametrize("page", PAGES)
def test_table_of_errors_has_exactly_the_statuses_of_the_protocol(page):
    assert statuses("docs/protocol.md") == statuses(page)


@pytest.mark.parametrize("page", PAGES)
def test_calls_of_the_image_api_are_those_of_the_protocol(page):
    call = re.compile(r"^\| `((?:GET|POST|PATCH|DELETE) [a-z]+-?token/\S+|\w+ token/\S+)` \|", re.MULTILINE)
    assert set(call.findall(text("docs/protocol.md"))) == set(call.findall(text(page)))


@pytest.mark.parametrize("page", PAGES)
def test_each_file_for_deployment_is_named(page):
    assert [] == [
        name for name in os.listdir(os.path.join(ROOT, "deploy")) if f"deploy/{name}`" not in text(page)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_each_extra_is_named(page):
    _, _, rest = text("pyproject.toml").partition("\n[project.optional-dependencies]\n")
    extras = set(re.findall(r"^([\w-]+) = ", rest.partition("\n[")[0], re.MULTILINE)) - {"bench", "dev"}
    assert extras == set(re.findall(r"'\.\[([\w-]+)\]'", text(page)))


@pytest.mark.parametrize("page", PAGES)
def test_sentences_are_short(page):
    assert [] == long_sentences(page)


@pytest.mark.parametrize("page", PAGES)
def test_sentences_name_actors_by_type(page):
    assert [] == sentences_without_actor(page)


@pytest.mark.needs("curl")
@pytest.mark.needs("http")
def test_examples_of_the_image_api_work(daemon):
    with open(os.path.join(daemon.directory, "photo.png"), "wb") as file:
        file.write(SAMPLES["png"])
    upload_with_httpie = block_with("http -f").replace("http -f", "http --ignore-stdin -f")
    printed = run(block_with("generate-token").replace("curl ", "curl --fail ") + upload_with_httpie, daemon)
    assert '{"photo.png": ' in printed
    assert '{"File ID": ' in printed
    with open(os.path.join(daemon.directory, "copy.png"), "rb") as file:
        assert SAMPLES["png"] == file.read()


@NEEDS
def test_commands_for_an_object_store_start_a_daemon(prefix, start_daemon, tmp_path):
    """With the service, the keys and the prefix of this test, on another port."""
    script = block_with("AWS_").replace("http://10.0.0.5:8333", prefix.server.endpoint)
    script = script.replace("s3://example-files", prefix.url).replace("\\\n  --listen 9000 ", "")
    access = '[buckets.default]\npublic = ["write"]\n'
    files = {"key-id": f"{ACCESS_KEY}\n", "secret-key": f"{SECRET_KEY}\n", "access.toml": access}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
        script = script.replace(f"/etc/filestored/{name}", str(tmp_path / name))
    words = shlex.split(script)
    variables = dict(word.split("=", 1) for word in words if word.startswith("AWS_"))
    assert {"AWS_ACCESS_KEY_ID_FILE", "AWS_SECRET_ACCESS_KEY_FILE"} < set(variables)
    running = start_daemon(*words[words.index("filestored") + 1 :], environment=variables)
    name = requests.post(running.url, data=b"kept", timeout=TIMEOUT).text
    assert b"kept" == prefix.below("files").read(f"{name[:2]}/{name}")


@pytest.mark.needs("curl")
def test_commands_for_access_store_read_and_sign(start_daemon, tmp_path):
    make, _ = block_with("token add").splitlines()
    secret = run_in(str(tmp_path), make).strip()
    daemon = start_daemon("--workers", "1", "--access", str(tmp_path / "access.toml"))
    (tmp_path / "hello.txt").write_text("Hello, files\n")
    script = block_with("filestored link").replace("curl ", "curl -sS --fail ")
    content, usage, link = run(f"TOKEN={secret}\n{script}", daemon).splitlines()
    assert "Hello, files" == content
    assert '"bytes": 13' in usage
    assert "Hello, files\n" == requests.get(link, timeout=TIMEOUT).text


def test_commands_of_the_client_upload_and_download(daemon, tmp_path):
    """With the shell variable of the block before."""
    hello, second = "Hello, files\n", "Second file\n"
    for name, content in (("hello.txt", hello), ("second.txt", second)):
        (Path(daemon.directory) / name).write_text(content)
    digest = hashlib.sha256(hello.encode()).hexdigest()
    first, other, *_ = run(f"HASH={digest}\n{block_with('filestored put')}", daemon).splitlines()
    assert f"{digest}  hello.txt" == first
    assert f"{hashlib.sha256(second.encode()).hexdigest()}  second.txt" == other
    assert hello == (Path(daemon.directory) / "copy.txt").read_text()


@pytest.mark.needs("curl")
def test_commands_for_monitoring_show_figures_and_readiness(start_daemon):
    """On a port that was free just now."""
    port = str(free_port())
    start, show = (block.replace("9101", port) for block in commands("README.md") if "9101" in block)
    words = shlex.split(start)
    daemon = start_daemon("--workers", "1", *words[words.index("filestored") + 1 :])
    figures = run(show.replace("curl ", "curl -sS --fail "), daemon)
    assert "filestored_build_info" in figures
    assert "serve" in figures


def test_table_of_commands_has_exactly_the_commands(capsys):
    main([])
    commands_of_help = re.findall(r"^    ([a-z]+) ", capsys.readouterr().err, re.MULTILINE)
    assert len(commands_of_help) > 10
    assert commands_of_help == re.findall(r"^\| `filestored (\w+)", text("README.md"), re.MULTILINE)


def test_commands_for_accounts_work_beside_the_daemon(daemon):
    token, same_token, name = run(block_with("account token"), daemon).splitlines()
    assert token == same_token
    assert "anna" == name


def test_names_in_etc_default_are_those_that_the_unit_and_the_init_script_read():
    page = text("docs/install.md")
    unit, script = text("deploy", "filestored.service"), text("deploy", "filestored.init")
    for name in ("FILESTORED_LISTEN", "FILESTORED_OPTIONS"):
        assert f"`{name}" in page
        assert name in unit
    assert "`OPTIONS`" in page
    assert "\nOPTIONS=\n" in script


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("number", range(DROP_INS))
def test_systemd_accepts_the_drop_ins(number, tmp_path):
    unit = re.sub(
        r"^ExecStart=\S+", "ExecStart=/bin/true", text("deploy", "filestored.service"), flags=re.MULTILINE
    )
    (tmp_path / "filestored.service").write_text(unit)
    (tmp_path / "filestored.service.d").mkdir()
    assert DROP_INS == len(drop_ins())
    (tmp_path / "filestored.service.d" / "added.conf").write_text(drop_ins()[number])
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "filestored.service"],
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)
