"""Pages of the documentation: their texts, sentences and code blocks, and a shell that runs these."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.daemon_process import ROOT, Running, read

MAX_WORDS = 25
BANNED_WORDS = re.compile(
    r"\b(we|us|ours?|somebody|nobody|whoever|anybody|everybody|rests?|наш\w*|мы|кто-то|учётн\w+)\b",
    re.IGNORECASE,
)

_NO_PROSE = re.compile(
    r"^```.*?^```|^ {4}.*?$|^#+ .*?$|^\| --- .*?$|<picture>.*?</picture>", re.MULTILINE | re.DOTALL
)


def text(*names: str) -> str:
    """Return the text of a file of the project."""
    return read(os.path.join(ROOT, *names))


def code(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """Return the shell commands of a page in blocks, without comments."""
    return [re.sub(r"^#.*\n", "", block, flags=re.MULTILINE) for block in code(page, "sh")]


def sentences(page: str) -> Iterator[str]:
    """Yield the sentences of the prose and of the cells of tables; code is one word."""
    prose = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]+`", "X", _NO_PROSE.sub("", text(page))))
    for block in re.split(r"\n\s*\n|\n(?=- )|\n(?=\|)|(?<=\S) \| (?=\S)", prose):
        yield from re.split(r"(?<=[.:;!?])\*{0,2}\s+", block.strip("|- \n"))


def long_sentences(page: str) -> list[str]:
    """Return the sentences of more than `MAX_WORDS` words."""
    return [each for each in sentences(page) if MAX_WORDS < len(re.findall(r"\w[\w'-]*", each))]


def sentences_without_actor(page: str) -> list[str]:
    """Return the sentences that name no actor by type, but by a pronoun."""
    return [each for each in sentences(page) if BANNED_WORDS.search(each)]


def run(script: str, daemon: Running) -> str:
    """Run commands of a page in the daemon's directory; return what they have printed."""
    script = script.replace("http://localhost:9000/", daemon.url).replace(
        "http://localhost:9000", daemon.url[:-1]
    )
    return run_in(daemon.directory, script)


def run_in(directory: str, script: str) -> str:
    """Run commands of a page in a directory; return what they have printed."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        ["sh", "-exc", script.replace(".venv/bin/", "")],
        cwd=directory,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
