"""Forms as clients write them, with the contents of their files; and forms that are refused.

The bytes were made after the sources or the output of each client, with a new boundary.
"""

from dataclasses import dataclass, field

CONTENT = b"first \r\n\x00\xff--\r\n- line\r"
SECOND = b"second\n"


@dataclass(frozen=True)
class Sample:
    """A `Content-Type` and a body; the contents of the files in order."""

    kind: str
    body: bytes
    files: list[bytes] = field(default_factory=lambda: [CONTENT])


def _form(boundary: str, *parts: tuple[bytes, bytes], before: bytes = b"", after: bytes = b"--\r\n") -> bytes:
    """Join parts, each its header lines and its content."""
    mark = b"--" + boundary.encode("latin-1")
    return before + mark + b"".join(b"\r\n%b\r\n\r\n%b\r\n%b" % (*each, mark) for each in parts) + after


def _file(lines: str, content: bytes = CONTENT) -> tuple[bytes, bytes]:
    return lines.encode(), content


def _named(parameters: str, content: bytes = CONTENT) -> tuple[bytes, bytes]:
    return _file(f"Content-Disposition: form-data; {parameters}", content)


FIELD = _named('name="f"', b"value")
PLAIN = _named('name="f"; filename="x"')


def _simple(boundary: str, parameter: str | None = None, **around: bytes) -> Sample:
    """Return a form whose boundary is the point; `parameter` is its text in the `Content-Type`."""
    written = boundary if parameter is None else parameter
    return Sample(f"multipart/form-data; boundary={written}", _form(boundary, PLAIN, **around))


def _one(parameters: str) -> Sample:
    return Sample("multipart/form-data; boundary=AB", _form("AB", _named(parameters)))


def _lines(lines: str) -> Sample:
    return Sample("multipart/form-data; boundary=AB", _form("AB", _file(lines)))


_CHROMIUM = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
_FIREFOX = "----geckoformboundary9f1c1a6d0f5a"
_OLD_FIREFOX = "---------------------------735323031399963166993862150"
_QT = "boundary_.oOo._MjAyNi0xMS0yNg==/+Q=="
_PYTHON = "===============8265491234567890123=="

ACCEPTED: dict[str, Sample] = {
    "Chromium, two files and an unselected one": Sample(
        f"multipart/form-data; boundary={_CHROMIUM}",
        _form(
            _CHROMIUM,
            FIELD,
            _file(
                'Content-Disposition: form-data; name="a"; filename="a%22b.txt"\r\nContent-Type: text/plain'
            ),
            _file(
                'Content-Disposition: form-data; name="b"; filename=""\r\n'
                "Content-Type: application/octet-stream",
                b"",
            ),
            _file('Content-Disposition: form-data; name="c"; filename="п.txt"\r\nContent-Type: ', SECOND),
        ),
        [CONTENT, SECOND],
    ),
    "Chromium, a backslash at the end of a name": _one('name="f"; filename="a\\"'),
    "Firefox": Sample(
        f"multipart/form-data; boundary={_FIREFOX}",
        _form(_FIREFOX, _named('name="a\\"b"; filename="c:\\x.txt"')),
    ),
    "Firefox before 130": _simple(_OLD_FIREFOX),
    "curl": Sample(
        "multipart/form-data; boundary=------------------------d74496d66958873e",
        _form(
            "------------------------d74496d66958873e",
            _file(
                'Content-Disposition: form-data; name="f"; filename="a\\"b;c\\\\.txt"\r\n'
                "Content-Type: text/plain"
            ),
        ),
    ),
    "requests": Sample(
        "multipart/form-data; boundary=0b0a4f0f3c1e4b8f8c0e7e1a2b3c4d5e",
        _form("0b0a4f0f3c1e4b8f8c0e7e1a2b3c4d5e", _named("name=\"f\"; filename*=utf-8''%D0%BF.txt")),
    ),
    "aiohttp": Sample(
        "multipart/form-data; boundary=6b2a",
        _form(
            "6b2a",
            _file(
                "Content-Type: application/octet-stream\r\n"
                'Content-Disposition: form-data; name="f"; filename="x"; filename*=utf-8\'\'x'
            ),
        ),
    ),
    "Node, package form-data": _simple("--------------------------515890814546601021194782", after=b"--\r\n"),
    "undici": Sample(
        "multipart/form-data; boundary=----formdata-undici-016411450218",
        _form(
            "----formdata-undici-016411450218",
            _file(
                'Content-Disposition: form-data; name="f"; filename="blob"\r\n'
                "Content-Type: application/octet-stream"
            ),
        ),
    ),
    "axios with a length": _lines(
        f'Content-Disposition: form-data; name="f"; filename="x"\r\nContent-Length: {len(CONTENT)}'
    ),
    ".NET and PowerShell 7": Sample(
        'multipart/form-data; boundary="f5b7c1de-8a31-4d0c-9a0c-1f3e5d7a9b2c"',
        _form(
            "f5b7c1de-8a31-4d0c-9a0c-1f3e5d7a9b2c",
            _file(
                "Content-Type: application/octet-stream\r\n"
                "Content-Disposition: form-data; name=f; filename=x; filename*=utf-8''x"
            ),
        ),
    ),
    "PowerShell 5 in a script": Sample(
        'multipart/form-data; boundary="cd3f0cf0"',
        _form("cd3f0cf0", _named("name=f; filename=my file.txt"), after=b"--"),
    ),
    "Python's email": Sample(
        f'multipart/form-data; boundary="{_PYTHON}"',
        _form(
            _PYTHON,
            _file(
                "Content-Type: application/octet-stream\r\nMIME-Version: 1.0\r\n"
                "Content-Transfer-Encoding: binary\r\n"
                'Content-Disposition: form-data; name="f";\r\n filename="x.txt"'
            ),
            before=b"Content-Type: multipart/form-data\r\nMIME-Version: 1.0\r\n\r\n",
        ),
    ),
    "Python's email, a long name in pieces": _lines(
        'Content-Disposition: form-data; name="f";\r\n'
        "\tfilename*0*=utf-8''%D0%BF%D0%BF;\r\n filename*1*=%D0%BF.txt"
    ),
    "Apache HttpClient, strict": Sample(
        "multipart/form-data; charset=ISO-8859-1; boundary=3lBwT-8DuNvI0Gr_9",
        _form(
            "3lBwT-8DuNvI0Gr_9",
            _file(
                'Content-Disposition: form-data; name="f"; filename="x"\r\n'
                "Content-Type: application/octet-stream; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit"
            ),
        ),
    ),
    "attachment": _lines("Content-Disposition: attachment; filename=x"),
    "a part without a disposition": Sample(
        "multipart/form-data; boundary=AB", _form("AB", _file("Content-Type: text/plain", b"text"), PLAIN)
    ),
    "blanks behind the closing boundary": _simple("AB", after=b"-- \t\r\nepilogue --AB"),
    "Java, lower-case fields": _lines('content-disposition:form-data;name="f";filename="x"'),
    "Go": _simple("9ee97b3c6a3e45e8c6b0f4a3d8a2ff0d8e2d3ca87cbb0ac7c9b6c6b1d1b7"),
    "Go, special characters": _simple("a b:c", '"a b:c"'),
    "PHP and cURL": _simple("------------------------cURL"),
    "Qt": _simple(_QT, f'"{_QT}"'),
    "Qt without quotes": _simple(_QT),
    "asterisks": _simple("*****"),
    "ampersand": _simple("a&b"),
    "characters of no RFC": _simple("{a}|<b>@#$%^`~![]"),
    "dashes only": _simple("--"),
    "one character": _simple("x"),
    "200 characters": _simple("b" * 200),
    "not ASCII": _simple("гран".encode().decode("latin-1")),
    "semicolon in quotes": _simple("a;b", '"a;b"'),
    "blanks around the boundary": _simple("AB", "  AB  "),
    "semicolon behind the boundary": _simple("AB", "AB;"),
    "type in other letters": Sample("Multipart/Form-Data; Boundary=AB", _form("AB", PLAIN)),
    "blanks around the equals sign": Sample("multipart/form-data ;boundary = AB", _form("AB", PLAIN)),
    "blanks behind boundary lines": Sample(
        "multipart/form-data; boundary=AB",
        b"--AB \t\r\n%b\r\n\r\n%b\r\n--AB  \r\n%b\r\n\r\n%b\r\n--AB-- \t\r\n" % (*PLAIN, *FIELD),
    ),
    "preamble": _simple("AB", before=b"This is a form.\r\n"),
    "long preamble": _simple("AB", before=b"-\r\n--A\r\r\n" * 30 + b"\r\n"),
    "line break before the first boundary": _simple("AB", before=b"\r\n"),
    "epilogue": _simple("AB", after=b"--\r\nepilogue\r\n--AB\r\n\r\nanything"),
    "no line break at the end": _simple("AB", after=b"--"),
    "name in CP1251": Sample(
        "multipart/form-data; boundary=AB",
        _form(
            "AB", ('Content-Disposition: form-data; name="f"; filename="Ёж.txt"'.encode("cp1251"), CONTENT)
        ),
    ),
    "name in ISO-8859-1": Sample(
        "multipart/form-data; boundary=AB",
        _form("AB", ('Content-Disposition: form-data; name="é"; filename="é"'.encode("latin-1"), CONTENT)),
    ),
    "unknown charset beside a plain name": _one("name=f; filename=x; filename*=koi8-r''%C5"),
    "unknown charset alone": _one("name=f; filename*=koi8-r''%C5"),
    "no name of the field": _one("filename=x"),
    "unclosed quote": _one('name=f; filename="x'),
    "quoted pair": _one('name="a\\\\"; filename="x\\"y"'),
    "empty parameter": _one("name=f;; filename=x;"),
    "folded with tabs": _lines('Content-Disposition:\r\n\tform-data;\r\n\t \tname="f";\r\n filename="x"'),
    "_charset_": Sample(
        "multipart/form-data; boundary=AB", _form("AB", _named('name="_charset_"', b"windows-1251"), PLAIN)
    ),
    "empty file": Sample(
        "multipart/form-data; boundary=AB", _form("AB", _named("name=f; filename=x", b"")), [b""]
    ),
    "part without a body": Sample(
        "multipart/form-data; boundary=AB",
        b"--AB\r\n%b\r\n\r\n--AB\r\n%b\r\n\r\n%b\r\n--AB--" % (PLAIN[0], *PLAIN),
        [b"", CONTENT],
    ),
    "file of type multipart": _lines(
        'Content-Disposition: form-data; name="f"; filename="x.mht"\r\n'
        'Content-Type: multipart/related; boundary="x"'
    ),
    "20 files": Sample(
        "multipart/form-data; boundary=AB",
        _form("AB", *[_named(f"name=f; filename={number}", b"%d" % number) for number in range(20)]),
        [b"%d" % number for number in range(20)],
    ),
}
"""Forms by the client or the point."""

_HEAD = b"--AB\r\n" + PLAIN[0]

REFUSED: dict[str, bytes] = {
    "base64": _lines(
        "Content-Disposition: form-data; name=f; filename=x\r\nContent-Transfer-Encoding: Base64"
    ).body,
    "quoted-printable": _lines(
        "Content-Transfer-Encoding:\r\n quoted-printable\r\n"
        "Content-Disposition: form-data; name=f; filename=x"
    ).body,
    "gzip": _lines("Content-Disposition: form-data; name=f; filename=x\r\nContent-Encoding: gzip").body,
    "range": _lines("Content-Disposition: form-data; name=f; filename=x\r\nContent-Range: bytes 0-4/10").body,
    "nested form": _form(
        "AB",
        _file(
            "Content-Disposition: form-data; name=f\r\nContent-Type: multipart/mixed; boundary=CD",
            b"--CD\r\nContent-Disposition: file; filename=y\r\n\r\ny\r\n--CD--",
        ),
        PLAIN,
    ),
    "two dispositions": _lines(
        "Content-Disposition: form-data; name=f\r\nContent-Disposition: form-data; name=f; filename=x"
    ).body,
    "two file names": _one("name=f; filename=x; filename=y").body,
    "two encodings": _lines(
        "Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 8bit\r\n"
        "Content-Disposition: form-data; name=f; filename=x"
    ).body,
    "wrong length": _lines("Content-Disposition: form-data; name=f; filename=x\r\nContent-Length: 3").body,
    "malformed length": _lines(
        "Content-Disposition: form-data; name=f; filename=x\r\nContent-Length: +3"
    ).body,
    "blank before the colon": _lines("Content-Disposition : form-data; name=f; filename=x").body,
    "line feed in a field": _lines("Content-Disposition: form-data; name=f; filename=x\nA: b").body,
    "carriage return in a field": _lines("Content-Disposition: form-data; name=f; filename=x\rA: b").body,
    "folded line of blanks": _lines("A: b\r\n \r\nContent-Disposition: form-data; name=f; filename=x").body,
    "folded first line": _lines(" A: b\r\nContent-Disposition: form-data; name=f; filename=x").body,
    "no disposition at all": _lines("Content-Type: text/plain").body,
    "text behind the closing boundary": _form("AB", PLAIN, after=b"--x\r\nmore\r\n--AB--\r\n"),
    "longer boundary behind the closing dashes": _form("AB", PLAIN, after=b"--CD\r\n--AB--\r\n"),
    "closing boundary and half a line break": _form("AB", PLAIN, after=b"--\r"),
    "closing boundary and a line feed": _form("AB", PLAIN, after=b"--\nmore\r\n--AB--"),
    "no head": b"--AB\r\n\r\ncontent\r\n--AB--\r\n",
    "lone line feeds": _form("AB", PLAIN).replace(b"\r\n", b"\n"),
    "longer boundary": _HEAD + b"\r\n\r\ncontent\r\n--ABC--\r\n--AB--\r\n",
    "longer boundary, then much": _HEAD + b"\r\n\r\ncontent\r\n--ABC" + b"x" * 9000 + b"\r\n--AB--\r\n",
    "longer first boundary": b"--ABC\r\n" + _form("AB", PLAIN),
    "boundary in a line of the preamble": b"x --AB\r\n" + _form("AB", PLAIN),
    "line feed before the first boundary": b"x\n" + _form("AB", PLAIN),
    "no closing boundary": _form("AB", PLAIN, after=b""),
    "half a closing boundary": _form("AB", PLAIN, after=b"-"),
    "another boundary": _form("CD", PLAIN),
    "only fields": _form("AB", FIELD),
    "nothing": b"",
}
"""Bodies with the boundary ``AB`` that are 400."""

REFUSED_TYPES = [
    "multipart / form-data; boundary=AB",
    "multipart/x-form-data; boundary=AB",
    "multipart/form-data boundary=AB",
    "multipart/form-data, boundary=AB",
    "multipart/form-data,text/plain; boundary=AB",
    "text/plain, multipart/form-data; boundary=AB",
    "multipart/form-data; boundary=AB, text/plain",
    "multipart/form-data; boundary=AB charset=utf-8",
    "multipart/form-data; boundary=AB; boundary=AB",
    "multipart/form-data; boundary=AB; Boundary=CD",
    'multipart/form-data; boundary="AB',
    'multipart/form-data; boundary="A\\B"',
    'multipart/form-data; boundary="AB" x',
    'multipart/form-data; boundary="AB "',
    'multipart/form-data; boundary=""',
    "multipart/form-data; boundary",
    "multipart/form-data; charset=utf-8",
    "multipart/form-data",
    "multipart/form-data:boundary=AB",
    "multipart/form-datax; boundary=AB",
    "multipart/form; boundary=AB",
    f"multipart/form-data; boundary={'b' * 201}",
]
"""Content types that begin like that of a form."""
