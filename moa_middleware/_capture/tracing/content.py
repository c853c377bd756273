"""
What is written of content; `record_classes.CLASSES` says which keys hold it.

It works on lines that are ready, in one place, so that nothing leaves without passing it: lines of
turns and of late calls, and those of the journal. What models said is inferred from before that.
With nothing configured there is no `Content` at all.

A path in `omitted` names the keys and places down to a value, with dots between; in a key, `~` is
written `~0` and `.` is written `~1`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ..._redaction.inside import unique
from ...record_classes import PROVIDERS_WORDS, UNREDACTABLE, content_below, figures_below, is_name
from ..log import count_fault
from .encode import decode
from .redact import LineRedaction, RedactionError, Redactor, is_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Content"]

_WHOLE = content_below()
"""Keys of turns and calls whose value is content, whatever it is."""
_HARMLESS_PARAMS = figures_below("params")
"""Parameters that are words of the format, or names; of the others only figures and flags are no content."""
_HARMLESS_IN_EXTRA_BODY = figures_below("params.extra_body")
_OF_TOOL_CALLS = figures_below("tool_calls")
"""What tells one tool call from another; the rest of it is content."""
_OF_CITATIONS = figures_below("citations")
_OF_NOTES = figures_below("notes")

_FIGURES_AND_TEXTS = ("usage_raw", "filters", "timings")
"""Keys whose value is an object of the provider's with both."""
_WITHHELD = "[withheld]"
"""What is written in the place of a key that is content."""


class Content:
    """
    What is written of content.

    Args:
        metadata: Write sizes in its place.
        limit: UTF-8 bytes of a text that are written at most, `None` for all.
        redactor: Changes the texts, `None` for none.
    """

    def __init__(self, *, metadata: bool = False, limit: int | None = None, redactor: Redactor | None = None) -> None:
        self._metadata = metadata
        self._limit = limit
        self._redactor = redactor or Redactor()

    def then(self, functions: Sequence[Callable[[str], str]]) -> Content:
        """Return the same with further functions, which change the texts last."""
        rules, own = self._redactor
        return Content(metadata=self._metadata, limit=self._limit, redactor=Redactor(rules, (*own, *functions)))

    def line(self, line: bytes) -> tuple[bytes, BaseException | None]:
        """
        Return a line as it may be written; a fault of ours costs its content, never the line.

        The second is what interrupted the program inside a user's function, to be raised when the
        line is written.

        Args:
            line: A JSON object, without its newline.
        """
        redaction = LineRedaction(self._redactor)
        try:
            data = self._line(line, redaction)
        except Exception as error:
            count_fault("redact", error)
            record = decode(line)
            _withhold(record, "redactor_failed")
            data = _dumped(record)
        return data, redaction.urgent

    def _line(self, line: bytes, redaction: LineRedaction) -> bytes:
        record = decode(line)
        if self._metadata:
            _withhold(record, "metadata")
        else:
            for part in _parts(record):
                _Edited(part, redaction, self._limit).make()
            if redaction.faults and type(record.get("instrumentation_errors")) is int:
                record["instrumentation_errors"] += redaction.faults
        return _dumped(record)


def _dumped(record: dict[str, Any]) -> bytes:
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode("ascii")


def _parts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what holds content: a record, the calls in it, that of a late line, and what a journal keeps."""
    parts = [record, record.get("aggregator"), record.get("call"), record.get("turn")]
    for name in ("references", "calls"):
        found = record.get(name)
        parts += found if isinstance(found, list) else ()
    return [part for part in parts if isinstance(part, dict)]


def _withhold(record: dict[str, Any], reason: str) -> None:
    """Put `null` in the place of all content, in place, and list what was there."""
    for part in _parts(record):
        _Withheld(part, reason).make()


def _size(value: Any) -> int:
    """Return the UTF-8 bytes of a text, or those of anything else as JSON."""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(value.encode("utf-8", "surrogatepass"))


def _step(path: str, key: str | int) -> str:
    name = key.replace("~", "~0").replace(".", "~1") if isinstance(key, str) else str(key)
    return f"{path}.{name}" if path else name


class _Withheld:
    """
    One turn or call without its content, in place: the one walk over the keys that hold any.

    Args:
        part: The turn or call.
        reason: Why; it is noted with the size of each value.
    """

    def __init__(self, part: dict[str, Any], reason: str = "redactor_failed") -> None:
        self.part = part
        self.reason = reason
        self.omitted: dict[str, Any] = {}

    def value(self, value: Any, path: str, name: str | None = None) -> Any:  # noqa: ARG002 - for `_Edited`
        """Return what is written of a value that is content; `name` is its key in the mapping that holds it."""
        if value is not None:
            self.omit(value, path)

    def usage_keys(self, keys: Iterable[str]) -> list[str]:
        """Return what is written of the keys of an object of the provider's, of which some are a user's own words."""
        return unique([key if is_name(key) else _WITHHELD for key in keys])

    def make(self) -> None:
        part = self.part
        if isinstance(part.get("omitted"), dict):  # by the limit of one key, which knows no redaction
            part["omitted"] = {self._path(path): why for path, why in part["omitted"].items()}
        for name in _WHOLE:
            if part.get(name) is not None:
                part[name] = self.value(part[name], name)
        error = part.get("error")
        if isinstance(error, dict) and error.get("message") is not None:
            error["message"] = self.value(error["message"], "error.message")
        for name, figures in (("tool_calls", _OF_TOOL_CALLS), ("citations", _OF_CITATIONS)):
            found = part.get(name)
            if isinstance(found, list):
                part[name] = [self.item(one, _step(name, place), figures) for place, one in enumerate(found)]
        for name in _FIGURES_AND_TEXTS:
            if part.get(name) is not None:
                part[name] = self.usage(part[name], name)
        for path in PROVIDERS_WORDS:
            holder, _, name = path.rpartition(".")
            found = part.get(holder) if holder else part
            if isinstance(found, dict) and isinstance(found.get(name), str) and not is_name(found[name], path):
                found[name] = self.value(found[name], path, name)
        notes = part.get("notes")
        if isinstance(notes, list):
            part["notes"] = [self.note(one, _step("notes", place)) for place, one in enumerate(notes)]
        params = part.get("params")
        if isinstance(params, dict):
            part["params"] = {name: self.param(value, name) for name, value in params.items()}
        tags = part.get("tags")
        if isinstance(tags, dict):
            part["tags"] = {key: self.value(value, _step("tags", key), key) for key, value in tags.items()}
        if self.omitted:
            part["omitted"] = {**part.get("omitted", {}), **self.omitted}

    def _path(self, path: str) -> str:
        """Return what is written of a path in `omitted`, whose first step is a key of the record."""
        first, *steps = path.split(".")
        keys = [step.replace("~1", ".").replace("~0", "~") for step in steps]
        try:
            keys = [key if key.isdecimal() else self.usage_keys([key])[0] for key in keys]
        except RedactionError:
            keys = [_WITHHELD]
        for key in keys:
            first = _step(first, key)
        return first

    def item(self, value: Any, path: str, figures: frozenset[str]) -> Any:
        """Return what is written of a tool call or a citation, whose keys are words of the record."""
        if not isinstance(value, dict):
            return self.value(value, path)
        shown: dict[str, Any] = {}
        for key, item in value.items():
            if key in figures and (isinstance(item, int | None) or (isinstance(item, str) and is_name(item))):
                shown[key] = item
            elif key in ("function", "custom") and isinstance(item, dict):
                shown[key] = self.item(item, _step(path, key), figures)
            else:
                shown[key] = self.value(item, _step(path, key), key)
        return shown

    def usage(self, value: Any, path: str) -> Any:
        """Return an object of the provider's (usage, filters): its numbers and flags stay, its texts are content."""
        if isinstance(value, dict):
            try:
                keys = self.usage_keys(value)
            except RedactionError:
                return self.omit(value, path)
            return {key: self.usage(item, _step(path, key)) for key, item in zip(keys, value.values(), strict=True)}
        if isinstance(value, list):
            return [self.usage(item, _step(path, place)) for place, item in enumerate(value)]
        return self.value(value, path) if isinstance(value, str) else value

    def note(self, value: Any, path: str) -> Any:
        """Return a note on a turn: its kind and time stay, of the rest its numbers and flags."""
        if not isinstance(value, dict):
            return self.value(value, path)
        kept = {key: item for key, item in value.items() if key in _OF_NOTES}
        rest = self.of_note({key: item for key, item in value.items() if key not in _OF_NOTES}, path)
        return {**kept, **rest} if isinstance(rest, dict) else kept

    def of_note(self, values: Any, path: str) -> Any:
        """Return the client's own values in a note; in an object or a list the keys may be content as well."""
        return {
            key: item
            if item is None or isinstance(item, bool | int | float)
            else self.value(item, _step(path, key), key)
            for key, item in values.items()
        }

    def param(self, value: Any, name: str) -> Any:
        path = _step("params", name)
        if name == "extra_body" and isinstance(value, dict):
            return {
                key: item
                if _is_harmless(key, item, _HARMLESS_IN_EXTRA_BODY)
                else self.value(item, _step(path, key), key)
                for key, item in value.items()
            }
        return value if _is_harmless(name, value, _HARMLESS_PARAMS) else self.value(value, path, name)

    def omit(self, value: Any, path: str, reason: str | None = None) -> None:
        """Note a value that is not written, and why."""
        self.omitted[path] = {"reason": reason or self.reason, "bytes": _size(value)}


def _is_harmless(name: str, value: Any, names: frozenset[str]) -> bool:
    return value is None or isinstance(value, bool | int | float) or name in names


class _Edited(_Withheld):
    """One turn or call with its content redacted and cut."""

    def __init__(self, part: dict[str, Any], redaction: LineRedaction, limit: int | None) -> None:
        super().__init__(part)
        self.redaction = redaction
        self.limit = limit

    def value(self, value: Any, path: str, name: str | None = None) -> Any:
        """Return any value with the texts, keys and figures in it redacted."""
        if path in UNREDACTABLE and self.redaction.is_active:
            return self.omit(value, path, "redacted")
        try:
            return self._value(value, path, name)
        except RecursionError:
            return self.omit(value, path)

    def _value(self, value: Any, path: str, name: str | None) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value, path, name)
        if kind is dict:
            try:
                keys = unique([self.redaction.key(key) for key in value])
            except RedactionError:
                return self.omit(value, path)
            return {
                key: self._value(item, _step(path, key), original)
                for key, (original, item) in zip(keys, value.items(), strict=True)
            }
        if kind is list:
            return [self._value(item, _step(path, place), name) for place, item in enumerate(value)]
        if kind is int or kind is float:
            try:
                return self.redaction.number(value, name)
            except RedactionError:
                return self.omit(value, path)
        return value

    def text(self, text: str, path: str, name: str | None) -> str | None:
        if is_word(text, name):
            return text
        try:
            text = self.redaction.text(text, name)
        except RedactionError:
            self.omit(text, path)
            return None
        return text if self.limit is None or len(text) * 4 <= self.limit else self.cut(text, path, self.limit)

    def cut(self, text: str, path: str, limit: int) -> str:
        data = text.encode("utf-8", "surrogatepass")
        if len(data) <= limit:
            return text
        self.omitted[path] = {"reason": "limit", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        end = limit
        while end and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - a continuation byte of UTF-8
            end -= 1
        return data[:end].decode("utf-8", "surrogatepass")

    def of_note(self, values: Any, path: str) -> Any:
        """Return the client's own values in a note; a number of theirs may be one that a rule looks for."""
        return self.value(values, path)

    def usage_keys(self, keys: Iterable[str]) -> list[str]:
        """Return the keys redacted; `prompt_tokens` and its like are the provider's words."""
        return unique(
            [key if key.endswith(("_tokens", "_tokens_details")) else self.redaction.key(key) for key in keys]
        )
