"""
A line that proves itself: its digest, and the digest of the line before it.

The lines of one process into one directory are a chain: each has the digest of the line before it, in the
order in which they were completed. A line gets its place in the chain and its digest in one step, after it
was encoded and before its file is locked: so nothing is encoded or hashed under a lock, and a line that is
refused and written later keeps its bytes. This module must not know what a line says.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from ..._layout.digest import DIGEST, HMAC, end_of, hasher_of
from .. import process
from ..log import count_fault
from .backlog import Line
from .encode import decode, encode
from .writer import FileWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..._layout.digest import Key
    from .writer import Writer

__all__ = ["Proof", "ProvenLine", "maker_of"]

_MOST = 100
"""How many directories have a chain at a time."""


class _Link:
    """One line of a chain."""

    __slots__ = ("after", "digest")

    def __init__(self, digest: str | None) -> None:
        self.digest = digest
        """`None` of the beginning."""
        self.after: dict[None, _Link] = {}
        """The next line, once there is one."""


class _Chain:
    """
    The chain of this process's lines into one place.

    It takes no lock: a finaliser may complete a line while the same thread completes another one. The end is
    found by `last` and the links after it, and `dict.setdefault`, which is one step, decides who comes next.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew, as a forked child does: the lines so far are its parent's."""
        self.last = _Link(None)
        """The last link, or one shortly before it."""
        self.pid = process.pid

    def end(self) -> _Link:
        """Return the last link at this moment."""
        if self.pid != process.pid:
            self.restart()
        link = self.last
        while (after := link.after.get(None)) is not None:
            link = after
        return link


_chains: dict[str, _Chain] = {}
"""By directory."""
_of_program: list[tuple[Writer, _Chain]] = []
"""The chain of the writer of the program's own, if there is one."""


def _chain_of(writer: Writer) -> _Chain:
    """Return the chain of a writer: a change of settings, which makes the tracer anew, does not begin another."""
    if isinstance(writer, FileWriter):
        if len(_chains) >= _MOST:
            _chains.clear()
        return _chains.setdefault(str(writer.trace_dir), _Chain())
    if not _of_program or _of_program[0][0] is not writer:
        _of_program[:] = [(writer, _Chain())]
    return _of_program[0][1]


class Proof:
    """
    How the lines for one writer are proven.

    Args:
        writer: Takes the lines.
        key: Makes HMACs of the digests; without one anybody can compute them.
    """

    def __init__(self, writer: Writer, key: Key | None = None) -> None:
        self.key = key
        self.chain = _chain_of(writer)
        words = {"integrity": DIGEST} if key is None else {"integrity": HMAC, "key_id": key.id}
        self.words = b"," + encode(words)[1:-1]
        """The first keys of a proof, which are the same in all lines."""

    def __repr__(self) -> str:
        """Name the kind, and the key by its id."""
        return f"Proof({self.key!r})"


def _with_writer_last(line: bytes) -> bytes:
    """Return a line whose last key is `writer`: what redaction leaves out is listed behind it."""
    place = line.rfind(b',"writer":{')
    # It is flat, and the record's own if but one bracket follows that which closes it.
    if place >= 0 and line.find(b"}", place) == len(line) - 3:
        return line
    record = decode(line)
    record["writer"] = record.pop("writer")
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate
        text = json.dumps(record, separators=(",", ":")).encode("ascii")
    return text + b"\n"


class ProvenLine(Line):
    """
    A line whose proof is added before it is handed over for the first time.

    Args:
        proof: How.
        process_fields: Returns the `writer` of a line that has none so far, as lines of late calls.
        data: As of `Line`.
        rest: As of `Line`.
    """

    def __init__(self, proof: Proof, process_fields: Callable[[], Mapping[str, Any]], data: bytes, **rest: Any) -> None:
        super().__init__(data, **rest)
        self._proof = proof
        self._process_fields = process_fields
        self._bare: bytes | None = data
        """The line without its proof, until it has one."""
        self._place: tuple[_Link, bytes, _Link] | None = None
        """The link before it, what is between the line's own bytes and its digest, and its own link."""

    def prove(self) -> None:
        """Add the proof. An interrupt may come anywhere in it: called again, it goes on with the same place."""
        bare = self._bare
        if bare is None:
            return
        proof = self._proof
        if self.late:
            # Its brackets: that of the call, which stays, and that of the record.
            begin = memoryview(bare)[:-2]
            opened = b',"writer":' + encode(self._process_fields())[:-1]
        else:
            begin, opened = memoryview(_with_writer_last(bare))[:-3], b""
        opened += proof.words
        place = self._place
        # Who is interrupted between the two last statements finds a place that it did not get, and looks for
        # another; behind them it finds that it has one (`test_an_interrupt_anywhere_proves_a_line_once`).
        if place is None or place[0].after.get(None) is not place[2]:
            hasher = hasher_of(proof.key, begin)
            hasher.update(opened)
            while True:
                before = proof.chain.end()
                inside = b"" if before.digest is None else b',"previous":"%b"' % before.digest.encode()
                own = hasher.copy()
                own.update(inside)
                link = _Link(own.hexdigest())
                self._place = place = (before, inside, link)
                if before.after.setdefault(None, link) is link:
                    break
        proof.chain.last = place[2]
        self.data = b"".join((begin, opened, place[1], end_of(place[2].digest or ""), b"\n"))
        self._bare = None
        self._place = None  # a link holds all that come after it

    def hand_over(self) -> None:
        """Give the line to its writer, with its proof. See `Line.hand_over`."""
        try:
            self.prove()
        except Exception as error:
            # A fault of ours costs the proof, never the line; `verify` shows that it has none.
            count_fault("tracing", error)
            self._bare = None
        super().hand_over()


def maker_of(proof: Proof | None, process_fields: Callable[[], Mapping[str, Any]]) -> Callable[..., Line]:
    """Return what makes lines, called as `Line`: proven ones, or such as they are."""
    return Line if proof is None else partial(ProvenLine, proof, process_fields)
