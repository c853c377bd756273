"""The files of a report: whole or not at all, readable for their owner alone, never in place of another file."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..errors import QueryError, ReportSizeError
from ..read import CODES, Filters, Run, to_jsonable
from ..read import open as open_run
from ._gather import gather
from ._page import as_block, is_ours, overhead, pages_in, write_page
from ._redact import ReportRedactor
from ._split import pages_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..read import Problem, Source
    from ._gather import Group, ReportContents
    from ._split import Page

__all__ = ["ReportFiles", "write"]

_PROBLEMS = 200
"""Problems, and files, that a page names."""


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """
    A report.

    Attributes:
        paths: The files, the one to open first.
        turns: Turns in it.
        size: Bytes of all files.
    """

    paths: tuple[Path, ...]
    turns: int
    size: int


def write(
    source: Run | Source | Iterable[Source],
    to: str | os.PathLike[str],
    *,
    content: bool = True,
    redact: str | Iterable[str] | None = None,
    split: bool = False,
    max_bytes: int = 64 * 1024 * 1024,
    title: str | None = None,
    progress: Callable[[int], object] | None = None,
    **filters: Unpack[Filters],
) -> ReportFiles:
    """
    Write a report: one HTML file, or a directory of them, which needs nothing else and asks for nothing.

    An earlier report in the same place is replaced. Files have mode 0600, since traces have it. For each
    turn some kilobytes are kept in memory; the rest goes by way of a file without a name beside the report.

    Args:
        source: A run, or what `read.open` takes.
        to: The file; with `split` the directory.
        content: Whether texts go in: messages, answers, reasoning, tool calls, messages of errors, values of
            tags. Without them names, times, tokens, prices, and how texts compare remain.
        redact: Rules of `MOA_REDACT`, by their names: `secrets`, `emails`, `phones`. They are applied to every
            text of the report.
        split: Write a page for each session, and `index.html`.
        max_bytes: Size of a page; with `split` a session that is larger has several pages, and a turn that is
            larger has one of its own.
        title: Title of the report; else what was opened.
        progress: As in `Run.on_progress`.
        filters: As in `Run.turns`.

    Raises:
        UnreadableError: What is named is not there, or cannot be opened.
        QueryError: A filter or a rule does not exist, or there is something at `to` that is no report.
        ReportSizeError: The page would be larger than `max_bytes`.
        OSError: The report cannot be written.
    """
    target = Path(to)
    redactor = ReportRedactor(redact)
    _look(target, split=split)
    run = source if isinstance(source, Run) else open_run(source)
    if progress is not None:
        run.on_progress(progress)
    folder = target if split else target.parent
    if split:
        target.mkdir(mode=0o700, exist_ok=True)
    # Without a name: nothing of it stays, however this ends.
    with tempfile.TemporaryFile(dir=folder) as spool:
        found = gather(run, spool, redactor, content=content, split=split, filters=filters)
        name = redactor.text(title if title is not None else _title(run))
        head: dict[str, Any] = {
            "title": name,
            "made": round(time.time(), 3),
            "content": content,
            "redacted": list(redactor.rules),
            "files": list(found.files)[:_PROBLEMS],
            "file_count": len(found.files),
            "problems": [_problem(one, redactor, content=content) for one in run.problems[:_PROBLEMS]],
            "problem_counts": [(code, CODES[code][0], count) for code, count in sorted(run.problem_counts.items())],
        }
        writer = _PageWriter(found, redactor, head, name)
        paths = writer.split(target, max_bytes) if split else [writer.single(target, max_bytes)]
    return ReportFiles(tuple(paths), len(found.blocks), sum(path.stat().st_size for path in paths))


def _title(run: Run) -> str:
    """Return what was opened, without directories above it: a report is shown to others."""
    names = [Path(name).resolve().name if name not in ("-", "<stdin>") else "stdin" for name in run.names]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004


def _problem(problem: Problem, redactor: ReportRedactor, *, content: bool) -> dict[str, Any]:
    found: dict[str, Any] = redactor.value(to_jsonable(problem))
    if problem.code == "E106" and (redactor.rules or not content):
        # It quotes the beginning of the schema, which is any text: cut, a rule would not know a secret in it.
        found["message"] = CODES["E106"][1]
    return {**found, "file": redactor.file(problem.file)}


def _look(target: Path, *, split: bool) -> None:
    """
    See that nothing is lost at the place of a report.

    Raises:
        QueryError: Something would be.
    """
    if not target.parent.is_dir():
        raise QueryError(f"{os.fspath(target)!r}: there is no directory {os.fspath(target.parent)!r}")
    if split:
        index = target / "index.html"
        if target.exists() and not target.is_dir():
            raise QueryError(f"{os.fspath(target)!r} is no directory, and a report that is split needs one")
        if index.exists() and not is_ours(index):
            raise QueryError(f"{os.fspath(index)!r} is there, and is no report: name another directory")
    elif target.is_dir():
        raise QueryError(f"{os.fspath(target)!r} is a directory: name a file, or split the report (--split)")
    elif os.path.lexists(target) and not is_ours(target):
        raise QueryError(f"{os.fspath(target)!r} is there, and is no report: name another file")


class _PageWriter:
    """Pages of what was read."""

    def __init__(self, found: ReportContents, redactor: ReportRedactor, head: dict[str, Any], title: str) -> None:
        self._found = found
        self._redactor = redactor
        self._head = head
        self._title = title

    def _run(self, places: list[int], group: Group, **more: Any) -> dict[str, Any]:
        """Return what a page has of the run."""
        return {**self._head, **self._redactor.value(group.to_jsonable()), **self._found.index.subset(places), **more}

    def single(self, target: Path, max_bytes: int) -> Path:
        """
        Write one page.

        Raises:
            ReportSizeError: It would be too large.
        """
        whole = self._found.whole
        run = self._run(whole.places, whole, kind="page")
        size = overhead() + whole.size + len(as_block("run", run))
        if size > max_bytes:
            less = ", or leave the texts out (content=False, --no-content)" if self._head["content"] else ""
            raise ReportSizeError(
                f"the page would have {size:,} bytes, more than {max_bytes:,}: "
                f"split it by session (split=True, --split){less}, or allow more (max_bytes, --max-bytes)"
            )
        self._put(target, self._title, run, whole.places)
        return target

    def split(self, folder: Path, max_bytes: int) -> list[Path]:
        """
        Write the pages of the sessions and their index.

        Raises:
            QueryError: There is something in the place of a page that is no report.
            OSError: A page cannot be written, or one of an earlier report not be removed.
        """
        found = self._found
        stale = {path.name for path in pages_in(folder)}
        pages = pages_of(found, max(1, max_bytes - overhead()))
        page_of = {place: number for number, page in enumerate(pages) for place in page.places}
        ids = {row["id"]: place for place, row in enumerate(found.index.rows)}
        inner: dict[str, list[int]] = {}
        for place, row in enumerate(found.index.rows):
            if "up" in row:
                inner.setdefault(row["up"], []).append(place)
        paths = [folder / "index.html"]
        for page in pages:
            if os.path.lexists(folder / page.name) and page.name not in stale:
                raise QueryError(
                    f"{os.fspath(folder / page.name)!r} is there, and is no report: name another directory"
                )
        for page in pages:
            run = self._run(page.places, page.session, kind="session", part=page.part, problems=[], files=[])
            run["elsewhere"] = self._elsewhere(page, pages, page_of, ids, inner)
            path = folder / page.name
            self._put(path, f"{Path(page.name).stem} · {self._title}", run, page.places)
            paths.append(path)
        run = self._run(found.whole.places, found.whole, kind="index", pages=[page.name for page in pages])
        for place, row in enumerate(run["rows"]):
            row["pg"] = page_of[place]
        self._put(paths[0], self._title, run, [])
        # An earlier report may hold what this one must not, for example texts. On a disk that ignores case it may be a new page.
        made = [path.stat() for path in paths]
        for name in stale - {path.name for path in paths}:
            with suppress(FileNotFoundError):
                there = (folder / name).lstat()
                if not any(os.path.samestat(there, one) for one in made) and is_ours(folder / name):
                    (folder / name).unlink()
        return paths

    def _elsewhere(
        self, page: Page, pages: list[Page], page_of: dict[int, int], ids: dict[str, int], inner: dict[str, list[int]]
    ) -> dict[str, list[Any]]:
        """Return the pages and names of turns around and inside those of a page that stand on others."""
        found: dict[str, list[Any]] = {}
        rows, tables = self._found.index.rows, self._found.index.tables
        for place in page.places:
            row = rows[place]
            near = [ids[one] for one in (row.get("up"), *row.get("in", ())) if one in ids]
            for other in (*near, *inner.get(row["id"], ())):
                if pages[page_of[other]] is not page:
                    there = rows[other]
                    found[there["id"]] = [
                        pages[page_of[other]].name,
                        tables["sessions"][there["s"]],
                        there["n"],
                        row["id"] if there.get("up") == row["id"] else None,
                    ]
        return found

    def _put(self, path: Path, title: str, run: dict[str, Any], places: list[int]) -> None:
        """
        Write a page next to its place, then move it there.

        Raises:
            QueryError: Something that is not a report is there by now.
        """
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as out:
                write_page(out, title, run, self._found.blocks_of(places))
            # Pages take a while to be written, in which somebody may have put a file of theirs here.
            if os.path.lexists(path) and not is_ours(path):
                raise QueryError(f"{os.fspath(path)!r} is there, and is not a report: name another file")
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
