"""The pages of a split report: which turns are on which, and their file names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._layout.names import session_stem

if TYPE_CHECKING:
    from ._gather import Group, ReportContents

__all__ = ["Page", "pages_of"]


class Page:
    """
    One page of a split report.

    Attributes:
        name: Of its file.
        session: Its session's turns, all of them.
        places: The rows on it.
        part: Which page of its session it is, from 1, and of how many.
    """

    def __init__(self, name: str, session: Group, places: list[int], part: tuple[int, int]) -> None:
        self.name = name
        self.session = session
        self.places = places
        self.part = part


def pages_of(found: ReportContents, room: int) -> list[Page]:
    """
    Return the pages: one a session, several where its turns need more room.

    Args:
        found: What was read.
        room: Bytes that the turns of a page may have; a turn that is larger has a page of its own.
    """
    pages: list[Page] = []
    taken: set[str] = set()
    for session, group in found.sessions.items():
        stem = _unique_name(session_stem(found.names[session]), taken)
        parts = _parts(found, group, room)
        for number, places in enumerate(parts, 1):
            name = f"session-{stem}.html" if len(parts) == 1 else f"session-{stem}~{number}.html"
            pages.append(Page(name, group, places, (number, len(parts))))
    return pages


def _unique_name(stem: str, taken: set[str]) -> str:
    """Return a name that no other session has, on a disk that ignores case too."""
    number, found = 1, stem
    while found.casefold() in taken:
        number += 1
        found = f"{stem}~~{number}"
    taken.add(found.casefold())
    return found


def _parts(found: ReportContents, group: Group, room: int) -> list[list[int]]:
    parts: list[list[int]] = []
    left = 0
    for place in group.places:
        length = found.blocks[place][1]
        if not parts or length > left:
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= length
    return parts
