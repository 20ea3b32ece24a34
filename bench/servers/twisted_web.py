"""Stock twisted.web: what filestored would be without its own HTTP and storage.

The same language and the same event loop; `twisted_web_site` is the program.
"""

import os
import sys
from typing import ClassVar

from bench.servers.base import Server, free_port


class TwistedWeb(Server):
    """`File` for the set; an upload is hashed and stored by the resource in `twisted_web_site`."""

    name: str = "twisted.web"
    omits: ClassVar[str] = "Hashes, does not flush; buffers each upload before the resource sees it."

    def start(self) -> None:
        """Run the program."""
        self.port = free_port()
        uploads = os.path.join(self.home, "up")
        os.makedirs(uploads, exist_ok=True)
        self.run(sys.executable, "-m", "bench.servers.twisted_web_site", str(self.port), self.store, uploads)
        self.await_answer(self.port)

    def version(self) -> str:
        """Twisted's."""
        import twisted

        return twisted.__version__

    def post(self) -> tuple[str, list[str]]:
        """The body is the file."""
        return "POST", ["/upload"]
