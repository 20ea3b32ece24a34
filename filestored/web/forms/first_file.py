"""Upload of the first file of a form, for requests that name one file: images, and PUT."""

from collections.abc import Callable

from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

from filestored.web.forms.multipart_parser import MultipartParser
from filestored.web.forms.part_head import PartHead

OnFilename = Callable[[str], None]
"""Called with the name of the file before its first byte; may raise."""


@implementer(IConsumer)
class FirstFile:
    """The consumer of a form: `write` its bytes, then `finish`. Its first file is written to `upload`."""

    def __init__(
        self, upload: IConsumer, parser: MultipartParser, on_filename: OnFilename | None = None
    ) -> None:
        self._upload = upload
        self._parser = parser
        self._on_filename = on_filename
        self._files = 0

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register the producer of the form with the upload, so that a slow disk pauses the client."""
        self._upload.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister the producer."""
        self._upload.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Parse the next bytes. Raises `TooLarge`, or `HTTPError` for a form that is refused."""
        for event in self._parser.parse(data):
            if isinstance(event, PartHead):
                self._start_file(event)
            elif self._files == 1:
                self._upload.write(event)

    async def finish(self) -> None:
        """End the form. Raises `HTTPError` if it is incomplete, or has no file."""
        self._parser.finish()

    def _start_file(self, part: PartHead) -> None:
        self._files += 1
        if self._files == 1 and self._on_filename is not None:
            self._on_filename(part.file_name())
