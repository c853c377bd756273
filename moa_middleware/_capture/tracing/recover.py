"""
Recovery: the turns of processes that died, put together again from their journals.

A journal belongs to the process that holds its lock. Its turn is written before it is removed, and
not written if its line is there already. So a recovery may be stopped at any point, run again, and
run while writers, or another recovery, are at work. What a journal contains has been redacted.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ..._layout import lock
from ..._layout.folder import Folder, is_of_another, kind_of, open_regular
from ..._layout.names import is_turn_id
from ...records import SCHEMA
from .encode import decode, encode
from .journal import FOLDER, JOURNAL_SCHEMA, OF_TURN, is_alive
from .proven_line import maker_of
from .recorded_call import RecordedCall
from .trace_file import Receipt, segments
from .tracer import counters, process_fields
from .turn_record import arrange, name_roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from .proven_line import Proof
    from .writer import FileWriter

__all__ = ["RecoveredJournal", "recover"]

_YOUNG = 60.0
"""Seconds for which a journal that says nothing may be one that is being begun."""

_KEY = b'"turn_id":"'
_HEAD = 500
"""Bytes of a line among which its turn's id stands."""
_LONGEST = 100

_BEGIN = f'{{"schema":"{JOURNAL_SCHEMA.partition("/")[0]}/'.encode()
"""How a journal's line begins."""
_LEAST = len(b'{"schema":"moa-')
"""Bytes of that which nothing else begins with, for lines that were torn."""

What = Literal["recovered", "written", "empty", "live", "elsewhere", "new", "busy", "foreign", "unreadable", "failed"]


class RecoveredJournal(NamedTuple):
    """
    What became of one journal.

    Attributes:
        path: The journal.
        what: `recovered`: its turn is written now; `written`: the turn was written already; `empty`: it
            says nothing; all three are removed. The others stay: `live` is of a process that runs,
            `elsewhere` of another machine or container, `new` is empty and less than a minute old,
            so that it may be one that is being begun, `busy` is locked, `foreign` is not a journal,
            `unreadable` is a journal without a whole line, or a file of this user's that cannot be opened,
            and the turn of `failed` could not be written.
        calls: Calls that were saved.
        error: What went wrong, or what it is.
    """

    path: Path
    what: What
    calls: int = 0
    error: str | None = None


def recover(
    writer: FileWriter, *, dry_run: bool = False, elsewhere: bool = False, proof: Proof | None = None
) -> Iterator[RecoveredJournal]:
    """
    Write the turns of dead processes, as `crashed`, and yield what was done with each journal.

    Args:
        writer: Writes into the directory whose journals are looked at.
        dry_run: Change nothing.
        elsewhere: Take processes of other machines and containers for dead.
        proof: How the lines that are made here are proven. A line that its own process had made stays as it is.

    Raises:
        OSError: The directory cannot be read.
    """
    try:
        top = Folder(writer.trace_dir)
    except FileNotFoundError:
        return
    with top:
        try:
            folder = top.below(FOLDER)
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            # A link leads out of the directory: what it leads to is not ours.
            yield RecoveredJournal(writer.trace_dir / FOLDER, "foreign", error=error.strerror)
            return
    with folder:
        names = [name for name in folder.names() if name.endswith(".jsonl")]
        written = _WrittenTurns(writer, {name.removesuffix(".jsonl") for name in names}, proof)
        for name in names:
            finding = _one(_Journal(folder, name), written, dry_run=dry_run, elsewhere=elsewhere)
            if finding is not None:
                yield finding


class _Journal:
    """One file where journals are."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self.turn_id = name.removesuffix(".jsonl")
        self.path = folder.path / name

    def found(self, what: What, calls: int = 0, error: str | None = None) -> RecoveredJournal:
        """Return what became of it."""
        return RecoveredJournal(self.path, what, calls, error)

    def removed(self, what: What, calls: int = 0, *, dry_run: bool) -> RecoveredJournal:
        """Remove it, and return that."""
        if not dry_run:
            with suppress(FileNotFoundError):
                self._folder.remove(self._name)
        return self.found(what, calls)

    def status(self) -> os.stat_result:
        """Return the status of the file itself, not of what it links to."""
        return self._folder.status(self._name)

    def is_at(self, status: os.stat_result) -> bool:
        """Return True if its name is still that of the file that is open."""
        return self._folder.is_at(self._name, status)

    def open(self) -> int:
        """Open it, to write if that may be: network file systems lock no other (flock(2))."""
        try:
            return self._folder.open(self._name, os.O_RDWR)
        except PermissionError:
            return self._folder.open(self._name)


def _one(journal: _Journal, written: _WrittenTurns, *, dry_run: bool, elsewhere: bool) -> RecoveredJournal | None:
    """Deal with one journal; `None` if somebody else has removed it."""
    status: os.stat_result | None = None
    try:
        status = journal.status()
        kind = kind_of(status)
        if kind is not None:
            return journal.found("foreign", error=f"it is {kind}")
        descriptor = journal.open()
    except FileNotFoundError:
        return None
    except OSError as error:
        hidden = status is not None and isinstance(error, PermissionError) and is_of_another(status)
        return journal.found("foreign" if hidden else "unreadable", error=_words(error))
    try:
        if lock.acquire(descriptor, time.monotonic() + lock.PATIENCE) is False:
            return journal.found("busy")
        status = os.fstat(descriptor)
        if not journal.is_at(status):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            lines = [line for line in file.read().split(b"\n") if line.strip()]
        if not lines:
            return _of_empty(journal, status, dry_run=dry_run)
        return _judge(journal, lines, written, dry_run=dry_run, elsewhere=elsewhere)
    except OSError as error:
        return journal.found("failed", error=_words(error))
    except Exception as error:
        # Another's file, or another version's: it must not keep the others from being recovered.
        return journal.found("unreadable", error=type(error).__qualname__)
    finally:
        lock.release(descriptor)
        os.close(descriptor)


def _of_empty(journal: _Journal, status: os.stat_result, *, dry_run: bool) -> RecoveredJournal:
    if not is_turn_id(journal.turn_id):
        return journal.found("foreign", error="it is empty, and its name is not a turn's")
    if time.time() - status.st_mtime < _YOUNG:
        return journal.found("new")
    return journal.removed("empty", dry_run=dry_run)


def _judge(
    journal: _Journal, lines: list[bytes], written: _WrittenTurns, *, dry_run: bool, elsewhere: bool
) -> RecoveredJournal:
    turn_id = journal.turn_id
    values = [_loaded(line) for line in lines]
    if not _is_own(values, lines[0], turn_id):
        return journal.found("foreign", error="its first line is not of a journal of this turn")
    lines_read = [value for value in values if _is_journal(value, turn_id)]
    if not lines_read:
        return journal.found("unreadable", error="it holds no whole line")
    # The last line names the process: a turn that began before a fork may have been carried on in the child.
    # A process id alone proves nothing, since the system gives it out again
    # (`test_a_pid_that_was_given_to_another_process_is_no_life`).
    alive = is_alive(lines_read[-1]["process"])
    if alive is None and not elsewhere:
        return journal.found("elsewhere")
    if alive:
        return journal.found("live")
    session_id = lines_read[-1]["session_id"]
    writer = written.writer
    # The line is looked for before it is written, and the journal removed after that. A recovery that is
    # killed between the two leaves both, and the next one finds the line here
    # (`test_a_recovery_that_is_killed_is_repeated`).
    if written.has(session_id, turn_id):
        return journal.removed("written", dry_run=dry_run)
    own = next((line for line in lines if _is_line_of(line, turn_id)), None)
    if own is not None:
        # It had ended, and its line was refused until its process ended.
        if not dry_run:
            writer.append(session_id, own + b"\n", Receipt())
        return journal.removed("recovered", _calls_in(_loaded(own)), dry_run=dry_run)
    record, calls = _record_of_whole(turn_id, session_id, lines_read)
    if not dry_run:
        # Its number last: one that is taken and not written would stand for a line that is missing.
        record["writer"] = {**counters.writer, "seq": next(counters.lines)}
        written.new_line(encode(record) + b"\n", session_id=session_id, writer=writer).hand_over()
    return journal.removed("recovered", calls, dry_run=dry_run)


def _words(error: OSError) -> str:
    return f"{type(error).__qualname__}: {error.strerror}"


# What a journal says ------------------------------------------------------------------------------


def _is_own(values: list[Any], first: bytes, turn_id: str) -> bool:
    """Return True if the first whole line is of a journal of the turn, or, where none is whole, torn from one."""
    value = next((one for one in values if one is not None), None)
    if value is None:
        begin = first[: 2 * len(_BEGIN)].replace(b" ", b"")[: len(_BEGIN)]
        return len(begin) >= _LEAST and _BEGIN.startswith(begin)
    if not isinstance(value, dict) or value.get("turn_id") != turn_id:
        return False
    schema = value.get("schema")
    return schema == SCHEMA or (isinstance(schema, str) and schema.startswith("moa-journal/"))


def _calls_in(record: dict[str, Any]) -> int:
    return len(record["references"]) + len(record["calls"]) + (record["aggregator"] is not None)


def _is_journal(line: Any, turn_id: str) -> bool:
    """Return True if a line is whole and the turn's; a file may have been put there by anybody."""
    return (
        isinstance(line, dict)
        and line.get("schema") == JOURNAL_SCHEMA
        and line.get("turn_id") == turn_id
        and isinstance(line.get("session_id"), str | None)
        and isinstance(line.get("process"), dict)
        and isinstance(line.get("covers"), list)
        and isinstance(line.get("turn", {}), dict)
        and isinstance(line.get("calls"), list)
        and isinstance(line.get("notes", []), list)
        and isinstance(line.get("places"), list)
        and len(line["calls"]) == len(line["places"])
        and all(isinstance(part, dict) for part in (*line["calls"], *line["places"]))
    )


@dataclass(slots=True, eq=False)
class _Saved(RecordedCall):
    """A call of a journal."""

    order: list[int]


def _saved(lines_read: Iterable[dict[str, Any]]) -> list[_Saved]:
    """Return the calls in the order of submission; a later line replaces the calls that it covers."""
    found: dict[str, _Saved] = {}
    for line in lines_read:
        for call_id in line["covers"]:
            found.pop(call_id, None)
        for fields, place in zip(line["calls"], line["places"], strict=True):
            if not math.isfinite(fields["started_at"] + (fields["duration_ms"] or 0.0)):
                raise ValueError("a time that JSON has no number for")
            found[fields["call_id"]] = _Saved(fields, place["chosen"], place["sum"], place["order"])
    saved = sorted(found.values(), key=lambda call: call.order)
    for index, call in enumerate(saved):
        call.fields["index"] = index
        if call.fields["parent"] not in found:
            call.fields["parent"] = None  # it had not ended, and nothing is known of it
    return saved


def _record_of_whole(
    turn_id: str, session_id: str | None, lines_read: list[dict[str, Any]]
) -> tuple[dict[str, Any], int]:
    """Return the same as `_record`, without the lines that it cannot read: they cost only themselves."""
    try:
        return _record(turn_id, session_id, lines_read)
    except Exception:
        whole = []
        for line in lines_read:
            with suppress(Exception):
                _record(turn_id, session_id, [deepcopy(line)])
                whole.append(line)
        return _record(turn_id, session_id, whole)


def _record(turn_id: str, session_id: str | None, lines_read: list[dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """Return the record of a turn but for its writer, and how many calls were saved."""
    saved = _saved(lines_read)
    turn: dict[str, Any] = next((line["turn"] for line in lines_read if "turn" in line), {})
    name_roles(saved, ended=False)
    record, _ = arrange(saved)
    del record["writer"]  # the caller adds it, behind `omitted`
    record |= {key: turn[key] for key in (*OF_TURN, "omitted") if turn.get(key) is not None}
    record["ts"] = time.time()
    record["turn_id"], record["session_id"] = turn_id, session_id
    record["outcome"], record["error"] = "crashed", _death_of(lines_read[-1]["process"])
    record["started_at"] = turn.get("started_at") or min((call.fields["started_at"] for call in saved), default=0.0)
    record["turns"] = lines_read[-1].get("turns") or []
    record["instrumentation_errors"] = max(line.get("instrumentation_errors", 0) for line in lines_read)
    # Each line has all notes so far, and threads append in any order.
    notes = max((line.get("notes") or [] for line in lines_read), key=len)
    if notes:
        record["notes"] = notes
    return record, len(saved)


def _death_of(process: dict[str, Any]) -> dict[str, str]:
    """Say which process it was: the record's `writer` is the one that recovered it."""
    pid, host = process.get("pid"), process.get("host")
    where = f" on {host}" if isinstance(host, str) else ""
    return {"type": "ProcessDied", "message": f"process {pid if type(pid) is int else 'unknown'}{where}"}


# What is written already ----------------------------------------------------------------------------


def _loaded(line: bytes) -> Any:
    """Return the JSON of a line, `None` if it is torn."""
    try:
        return decode(line)
    except (ValueError, RecursionError):
        return None


def _is_line_of(line: bytes, turn_id: str) -> bool:
    """Return True if it is the turn's own line."""
    record = _loaded(line)
    return isinstance(record, dict) and (record.get("schema"), record.get("turn_id")) == (SCHEMA, turn_id)


class _WrittenTurns:
    """
    Which of some turns are written: each file is read once, and what is appended meanwhile.

    Args:
        writer: Names the files.
        wanted: Ids of the turns.
        proof: How lines that are added are proven.
    """

    def __init__(self, writer: FileWriter, wanted: set[str], proof: Proof | None = None) -> None:
        self.writer = writer
        self.new_line = maker_of(proof, process_fields)
        self._wanted = {turn_id.encode() for turn_id in wanted}
        self._found: dict[str, set[str]] = {}
        self._read: dict[tuple[int, int], int] = {}
        """How far a file was read, by device and inode: a sealed one has another name."""

    def has(self, session_id: str | None, turn_id: str) -> bool:
        """Return True if a turn's line is in its session's file, or in a sealed segment of it."""
        path = os.fspath(self.writer.path_of(session_id))
        found = self._found.setdefault(path, set())
        # The file first: if it is sealed after that, it is among the segments.
        for name in (path, *segments(path)):
            if turn_id not in found:
                self._look(name, found)
        return turn_id in found

    def _look(self, name: str, found: set[str]) -> None:
        with suppress(FileNotFoundError), open_regular(name, follow=True) as file:
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino)
            begin = self._read.get(key, 0)
            file.seek(begin if begin <= status.st_size else 0)
            for line in file:
                if line.endswith(b"\n"):
                    self._read[key] = file.tell()
                place = line.find(_KEY, 0, _HEAD) + len(_KEY)
                turn_id = line[place : place + _LONGEST].partition(b'"')[0]
                if turn_id in self._wanted and _is_line_of(line, turn_id.decode()):
                    found.add(turn_id.decode())
