"""Random forms: valid ones in every spelling, and damaged ones.

The generator knows the contents of valid forms, and makes none that holds the boundary. Those of a damaged
form are what a reader of lines finds (`read_lines`).
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from filestored.web.errors import HTTPError
from filestored.web.forms.part_head import parse_part_head
from tests.web.forms import name_of

BOUNDARIES = [
    *("b", "--", "*****", "a&b", "AB==", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "'()+_,-./:=?"),
    *("boundary_.oOo._MTIz==", "x" * 200, "\x80\xff"),
]
PIECES = [b"\r", b"\n", b"-", b"--", b"\r\n", b"\r\n--", b"\r\n-", b"\0", b"\xff", b"text", b"z" * 300]
JUNK = [
    *(b"\r\n", b"\r", b"\n", b"--", b"\0", b'"', b"\\", b";", b":", b"\xff", b" ", b"\t", b"\r\n\r\n"),
    *(b"; filename=y", b"filename*", b"Content-Length: 3\r\n", b" folded\r\n", b"y" * 9000),
    *(b"Content-Disposition: form-data\r\n", b"Content-Transfer-Encoding: base64\r\n"),
]


@dataclass(frozen=True)
class RandomForm:
    """A form in pieces, with the text of its boundary, and the contents of its files."""

    boundary: bytes
    pieces: list[bytes]
    files: list[bytes]

    @property
    def kind(self) -> str:
        """The `Content-Type`; decoded as ISO-8859-1."""
        return f'multipart/form-data; boundary="{self.boundary.decode("latin-1")}"'

    def names(self) -> list[bytes]:
        """Return the hashes of the files."""
        return [name_of(content) for content in self.files]


def random_form(random: Random) -> RandomForm:
    """Return a valid form with at least one file."""
    boundary = random.choice(BOUNDARIES).encode("latin-1")
    mark = b"--" + boundary
    parts = [_random_part(random, mark) for _ in range(random.choice([0, 0, 1, 2, 5, 20]))]
    parts.insert(random.randint(0, len(parts)), _random_file(random, mark))
    preamble = _random_content(random, mark) + b"\r\n" if random.random() < 0.3 else b""
    body = b"".join(
        b"%b%b\r\n%b\r\n\r\n%b\r\n" % (mark, random.choice([b"", b"", b" ", b"\t  "]), head, content)
        for head, content, _ in parts
    )
    epilogue = random.choice([b"", b"\r\n", b" \r\n", b"\r\n" + mark + b"\r\nx"])
    whole = preamble + body + mark + b"--" + epilogue
    return RandomForm(boundary, random_cut(random, whole), [content for _, content, file in parts if file])


def damaged(random: Random, form: RandomForm) -> RandomForm:
    """Return the form with bytes that are inserted, removed or cut off, and what `read_lines` finds in it."""
    body = b"".join(form.pieces)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(body) + 1)
        body = body[:at] + random.choice([b"", *JUNK]) + body[at + random.choice([0, 0, 1, 5]) :]
    if random.random() < 0.2:
        body = body[: random.randrange(len(body) + 1)]
    return RandomForm(form.boundary, random_cut(random, body), read_lines(form.boundary, body))


def read_lines(boundary: bytes, body: bytes) -> list[bytes]:
    """Return the contents of the files of a form as a reader of lines does, which knows no pieces.

    A delimiter is a line of its own. Heads that cannot be read are those of fields.
    """
    delimiter = re.compile(rb"(?:\A|\r\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
    files = []
    found = list(delimiter.finditer(body))
    for begin, end in pairwise(found):
        if begin[1]:
            break
        head, _, content = body[begin.end() : end.start()].partition(b"\r\n\r\n")
        with suppress(HTTPError):
            # A line break is left behind the head of a part without content.
            if parse_part_head(head[2:].removesuffix(b"\r\n")).is_file:
                files.append(content)
    return files


def random_cut(random: Random, body: bytes) -> list[bytes]:
    """Cut a body at random, now and then into single bytes."""
    if random.random() < 0.05:
        return [body[at : at + 1] for at in range(len(body))]
    edges = sorted({0, len(body), *(random.randint(0, len(body)) for _ in range(random.randint(0, 8)))})
    return [body[start:stop] for start, stop in pairwise(edges)]


def _random_part(random: Random, mark: bytes) -> tuple[bytes, bytes, bool]:
    if random.random() < 0.5:
        return _random_file(random, mark)
    disposition = random.choice(
        [
            b"form-data; name=f",
            b'form-data; name="f"; filename=""',
            b"form-data",
            b'FORM-DATA; name="filename"',
        ]
    )
    return _random_head(random, disposition, None), _random_content(random, mark), False


def _random_file(random: Random, mark: bytes) -> tuple[bytes, bytes, bool]:
    content = _random_content(random, mark)
    disposition = random.choice([
        b"form-data; name=f; filename=x",
        b'form-data; name="f"; filename="x;y\\"z"',
        b'form-data;\r\n name="f";\r\n\tfilename="x"',
        b'form-data; name="f"; filename="\xff\xfe"',
        b"form-data; name=f; filename*=koi8-r''%C5",
        b'form-data; filename="a\\"',
        b'form-data; name="\\\\"; FileName = x;',
    ])  # fmt: skip
    return _random_head(random, disposition, len(content)), content, True


def _random_head(random: Random, disposition: bytes, length: int | None) -> bytes:
    colon = random.choice([b":", b": ", b":\t ", b":\r\n "])
    lines = [random.choice([b"Content-Disposition", b"content-disposition"]) + colon + disposition]
    if random.random() < 0.3:
        lines.append(b"Content-Transfer-Encoding: " + random.choice([b"binary", b"8BIT", b"7bit"]))
    if random.random() < 0.3:
        lines.append(b"Content-Type: " + random.choice([b"text/plain", b"", b"x/y; z=\r\n w"]))
    if length is not None and random.random() < 0.2:
        lines.append(b"Content-Length: %d" % length)
    random.shuffle(lines)
    return b"\r\n".join(lines)


def _random_content(random: Random, mark: bytes) -> bytes:
    pieces = [*PIECES, mark[:-1], b"\r\n" + mark[:-1]]
    content = b"".join(random.choice(pieces) for _ in range(random.choice([0, 1, 3, 9, 30])))
    return content if mark not in content else b""
