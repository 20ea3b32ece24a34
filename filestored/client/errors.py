"""Errors of the client. Their texts are for the user, in one line, without secrets."""

from filestored.errors import FilestoredError

MAX_TEXT_LENGTH = 300
"""Maximum number of characters of a text of the server."""


class ClientError(FilestoredError):
    """The client cannot do this."""


class FileError(ClientError):
    """A local file cannot be read or written."""

    @classmethod
    def of(cls, error: OSError) -> "FileError":
        """Return the error for an `OSError` about a file that the message has named already."""
        return cls(error.strerror or str(error))


class TransferError(ClientError):
    """The bytes that were sent or received are not the expected ones."""


class TemporaryError(ClientError):
    """A repetition may succeed, after `seconds`; None leaves the time to the caller."""

    def __init__(self, text: str, seconds: float | None = None) -> None:
        super().__init__(text)
        self.seconds = seconds


class ConnectionLost(TemporaryError):
    """No connection, or it ended before the response did."""


class Refused(ClientError):
    """The server has responded with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Unavailable(Refused, TemporaryError):
    """The server has responded with 503 and the seconds after which a repetition may succeed."""

    def __init__(self, text: str, seconds: float) -> None:
        Refused.__init__(self, 503, text)
        self.seconds = seconds


def printable(text: str) -> str:
    """Return a text of the server in one line, without control characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(line.split())[:MAX_TEXT_LENGTH]
