"""Requests as clients that are not run here write them: header fields in their order, bodies and forms.

Line breaks are CRLF when they are sent. The head says whether the body is chunked.
"""

from dataclasses import dataclass

CHUNK_BYTES = 64_000


@dataclass(frozen=True)
class Sample:
    """A request: its head, and its body, in which ``{content}`` is the file."""

    head: str
    body: str = "{content}"

    def parts(self, content: bytes, digest: str, host: str) -> tuple[bytes, bytes]:
        """Return the head and the body as they are sent."""
        before, _, after = self.body.partition("{content}")
        body = _lines(before) + content + _lines(after)
        head = self.head.strip("\n").format(host=host, length=len(body), digest=digest)
        is_chunked = "Transfer-Encoding: chunked" in head
        return _lines(f"{head}\n\n"), _chunked(body) if is_chunked else body

    @property
    def waits(self) -> bool:
        """Return whether the client waits for ``100 Continue``."""
        return "Expect: 100-continue" in self.head


def _lines(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def _chunked(body: bytes) -> bytes:
    pieces = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


POWERSHELL_5 = "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.19041.4522"
POWERSHELL_7 = "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.19045; en-US) PowerShell/7.4.2"

REQUESTS = {
    "PowerShell 5.1 Invoke-WebRequest -Method Post -InFile": Sample(f"""
POST / HTTP/1.1
User-Agent: {POWERSHELL_5}
Content-Type: application/x-www-form-urlencoded
Host: {{host}}
Content-Length: {{length}}
Expect: 100-continue
Connection: Keep-Alive"""),
    "PowerShell 5.1 Invoke-WebRequest -Method Put -InFile": Sample(f"""
PUT /files/{{digest}} HTTP/1.1
User-Agent: {POWERSHELL_5}
Host: {{host}}
Content-Length: {{length}}
Expect: 100-continue
Connection: Keep-Alive"""),
    "PowerShell 7 Invoke-RestMethod -Form": Sample(
        f"""
POST / HTTP/1.1
Host: {{host}}
User-Agent: {POWERSHELL_7}
Accept-Encoding: gzip, deflate, br
Content-Type: multipart/form-data; boundary="2d0b1a3c-66f5-4f52-9a0e-7f3b0c3f6c11"
Content-Length: {{length}}""",
        """--2d0b1a3c-66f5-4f52-9a0e-7f3b0c3f6c11
Content-Disposition: form-data; name=note
Content-Type: text/plain; charset=utf-8

text
--2d0b1a3c-66f5-4f52-9a0e-7f3b0c3f6c11
Content-Disposition: form-data; name=file; filename=x.bin
Content-Type: application/octet-stream

{content}
--2d0b1a3c-66f5-4f52-9a0e-7f3b0c3f6c11--
""",
    ),
    "PowerShell 7 Invoke-WebRequest -InFile": Sample(f"""
POST / HTTP/1.1
Host: {{host}}
User-Agent: {POWERSHELL_7}
Accept-Encoding: gzip, deflate, br
Content-Type: application/x-www-form-urlencoded
Content-Length: {{length}}"""),
    ".NET HttpClient, StreamContent of unknown length, ExpectContinue": Sample("""
PUT /files/{digest} HTTP/1.1
Host: {host}
Expect: 100-continue
Transfer-Encoding: chunked"""),
    ".NET HttpClient, MultipartFormDataContent": Sample(
        """
POST / HTTP/1.1
Host: {host}
Content-Type: multipart/form-data; boundary="f1c5a3c4-6d1c-4f27-ae7e-2d7f4a3d0c55"
Content-Length: {length}""",
        """--f1c5a3c4-6d1c-4f27-ae7e-2d7f4a3d0c55
Content-Disposition: form-data; name=file; filename="a b.bin"; filename*=utf-8''a%20b.bin

{content}
--f1c5a3c4-6d1c-4f27-ae7e-2d7f4a3d0c55--
""",
    ),
    "curl of Windows -F": Sample(
        """
POST / HTTP/1.1
Host: {host}
User-Agent: curl/8.9.1
Accept: */*
Content-Length: {length}
Content-Type: multipart/form-data; boundary=------------------------8a1f0c5e2b7d4f93
Expect: 100-continue""",
        """--------------------------8a1f0c5e2b7d4f93
Content-Disposition: form-data; name="file"; filename="x.bin"
Content-Type: application/octet-stream

{content}
--------------------------8a1f0c5e2b7d4f93--
""",
    ),
    "Java HttpURLConnection, fixed length": Sample("""
POST / HTTP/1.1
Content-Type: application/x-www-form-urlencoded
Cache-Control: no-cache
Pragma: no-cache
User-Agent: Java/1.8.0_412
Host: {host}
Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2
Connection: keep-alive
Content-Length: {length}"""),
    "Java HttpURLConnection, chunked": Sample("""
PUT /files/{digest} HTTP/1.1
User-Agent: Java/17.0.11
Host: {host}
Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2
Connection: keep-alive
Content-type: application/x-www-form-urlencoded
Transfer-Encoding: chunked"""),
    "Java HttpClient, which offers HTTP/2": Sample("""
POST / HTTP/1.1
Connection: Upgrade, HTTP2-Settings
Content-Length: {length}
Host: {host}
HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA
Upgrade: h2c
User-Agent: Java-http-client/17.0.11"""),
    "Apache HttpClient of Java, form": Sample(
        """
POST / HTTP/1.1
Content-Length: {length}
Content-Type: multipart/form-data; boundary=Kp3mZ_q9rTnW5bXcVd-1Lh7Ys0
Host: {host}
Connection: Keep-Alive
User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.11)
Accept-Encoding: gzip,deflate""",
        """--Kp3mZ_q9rTnW5bXcVd-1Lh7Ys0
Content-Disposition: form-data; name="file"; filename="x.bin"
Content-Type: application/octet-stream
Content-Transfer-Encoding: binary

{content}
--Kp3mZ_q9rTnW5bXcVd-1Lh7Ys0--
""",
    ),
    "OkHttp of Android, form": Sample(
        """
POST / HTTP/1.1
Content-Type: multipart/form-data; boundary=0c6d0f6e-8a3b-4e0e-9b0a-6f1d7d2c9e41
Content-Length: {length}
Host: {host}
Connection: Keep-Alive
Accept-Encoding: gzip
User-Agent: okhttp/4.12.0""",
        """--0c6d0f6e-8a3b-4e0e-9b0a-6f1d7d2c9e41
Content-Disposition: form-data; name="note"
Content-Length: 4

text
--0c6d0f6e-8a3b-4e0e-9b0a-6f1d7d2c9e41
Content-Disposition: form-data; name="file"; filename="x.bin"
Content-Type: application/octet-stream

{content}
--0c6d0f6e-8a3b-4e0e-9b0a-6f1d7d2c9e41--
""",
    ),
    "Go net/http, a reader of unknown length": Sample("""
POST / HTTP/1.1
Host: {host}
User-Agent: Go-http-client/1.1
Transfer-Encoding: chunked
Content-Type: application/octet-stream
Accept-Encoding: gzip"""),
    "Go mime/multipart": Sample(
        """
POST / HTTP/1.1
Host: {host}
User-Agent: Go-http-client/1.1
Content-Length: {length}
Content-Type: multipart/form-data; boundary=5f0c1d2e3b4a59687706f5e4d3c2b1a0998877665544332211ffeeddccbb
Accept-Encoding: gzip""",
        """--5f0c1d2e3b4a59687706f5e4d3c2b1a0998877665544332211ffeeddccbb
Content-Disposition: form-data; name="file"; filename="x.bin"
Content-Type: application/octet-stream

{content}
--5f0c1d2e3b4a59687706f5e4d3c2b1a0998877665544332211ffeeddccbb--
""",
    ),
    "PHP curl with CURLFile": Sample(
        """
POST / HTTP/1.1
Host: {host}
Accept: */*
Content-Length: {length}
Content-Type: multipart/form-data; boundary=------------------------d9f2a6c81b3e5074""",
        """--------------------------d9f2a6c81b3e5074
Content-Disposition: form-data; name="file"; filename="/var/www/uploads/x.bin"
Content-Type: application/octet-stream

{content}
--------------------------d9f2a6c81b3e5074--
""",
    ),
    "PHP file_get_contents of HTTP/1.0": Sample("""
POST / HTTP/1.0
Host: {host}
Connection: close
Content-Length: {length}
Content-Type: application/x-www-form-urlencoded"""),
    "Ruby Net::HTTP": Sample("""
POST / HTTP/1.1
Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
Accept: */*
User-Agent: Ruby
Host: {host}
Content-Length: {length}
Content-Type: application/x-www-form-urlencoded"""),
    "Perl LWP": Sample("""
POST / HTTP/1.1
TE: deflate,gzip;q=0.3
Connection: TE, close
Host: {host}
User-Agent: libwww-perl/6.68
Content-Length: {length}
Content-Type: application/octet-stream"""),
    "URLSession of iOS, form": Sample(
        """
POST / HTTP/1.1
Host: {host}
Content-Type: multipart/form-data; boundary=Boundary-3F0A9C1E-55B2-4E0B-8D3E-0A7B5C2D9F11
Connection: keep-alive
Accept: */*
User-Agent: Camera/1 CFNetwork/1494.0.7 Darwin/23.4.0
Content-Length: {length}
Accept-Language: en-GB,en;q=0.9
Accept-Encoding: gzip, deflate""",
        """--Boundary-3F0A9C1E-55B2-4E0B-8D3E-0A7B5C2D9F11
Content-Disposition: form-data; name="file"; filename="IMG_0001.HEIC"
Content-Type: image/heic

{content}
--Boundary-3F0A9C1E-55B2-4E0B-8D3E-0A7B5C2D9F11--
""",
    ),
}
