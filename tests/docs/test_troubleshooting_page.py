"""The page on troubleshooting has each message of the program, and no other."""

import re

import pytest

from tests.docs.messages import log_messages, response_messages, start_messages, texts
from tests.docs.pages import text

PAGE = "docs/troubleshooting.md"


def rows() -> set[str]:
    """Return the messages in the first cells of the tables, without those of other programs."""
    return set(re.findall(r"^\| `(.+?)` \|", text(PAGE), re.MULTILINE))


def test_page_has_only_messages_of_the_program():
    """Each part between the dots stands in one text of the sources."""
    known = "\n".join(" ".join(each.split()) for each in texts())
    parts = {part.strip() for row in rows() for part in row.split("…") if len(part.strip()) > 2}
    assert len(parts) > 150
    assert set() == {part for part in parts if part not in known}


@pytest.mark.parametrize("kind", [start_messages, log_messages, response_messages])
def test_page_has_each_message_of_the_program(kind):
    """A new message needs a row with its cause and its remedy."""
    assert set() == kind() - rows()
