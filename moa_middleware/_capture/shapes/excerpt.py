"""
Copies of what a provider sent, for the record: builtin types, binary data as type, size and digest, no text without end.

This module must not know what an item means, or in which key of the record it is.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .fields import fields_of, get
from .signature import SENTINELS
from .values import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BinaryPiece", "Limiter", "copied", "digest_of", "is_blank"]

_DEPTH = 60
_SCALARS = frozenset({str, int, float, bool, type(None)})
_LONGEST_TEXT = 256 * 1024
_LARGEST = 1024 * 1024
"""Characters of one text, and of all that one key of the record has."""
_PER_ITEM = 8
"""Characters that a number, or an item of a list, counts as."""
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"PK\x03\x04", "application/zip"),
)
"""By the first bytes: the formats that models make or send back."""
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_BINARY = frozenset({"b64_json", "partial_image_b64", "image_base64", "base64", "file_data"})
"""Keys whose text is binary data by contract (OpenAI's images and files, Together's)."""
_MEDIA_TYPES = ("media_type", "mime_type", "mimeType")
"""Keys that say next to a text of which type its data are (Anthropic, MCP, Gemini)."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_SHORTEST = 24
"""Characters of base64 that show a format's first bytes."""
_LONG = 4096
"""Characters of base64 that are binary data, whatever their key: no other text is that long without a blank."""


def is_blank(value: Any) -> bool:
    """Return True for `null`, an empty text, an empty list, an empty object, and what an SDK calls not given."""
    kind = type(value)
    return value is None or (not value if kind in _MAY_BE_EMPTY else kind.__name__ in SENTINELS)


_MAY_BE_EMPTY = frozenset({str, list, tuple, dict})


def copied(value: Any, name: str = "", holder: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """
    Return a value as builtin types without binary data; nothing is consumed, and no code of a value's own runs.

    Args:
        value: The value: of a dict, of an SDK's model, or of anything else.
        name: Its key.
        holder: The fields in which it is.
        depth: Levels above it.
    """
    kind = type(value)
    if kind is str:
        return _without_binary(value, name, holder or {})
    if kind in _SCALARS:
        return value
    if depth > _DEPTH:
        return "..."
    if kind is list or kind is tuple:
        return [copied(item, name, holder, depth + 1) for item in value]
    if kind in (bytes, bytearray):
        return digest_of(bytes(value))
    if kind is datetime:
        # The SDKs make one of a text; this is the form in which it was sent.
        return value.isoformat().replace("+00:00", "Z")
    fields = fields_of(value, models_only=True)
    if type(fields) is dict:
        # What a class declares and the provider did not send is `None` in its models, and no word of the provider's.
        sent = get(value, "__pydantic_fields_set__")
        sent = fields if sent is None else sent
        extra = get(value, "__pydantic_extra__") or {}
        return {
            str(key): copied(item, str(key), fields, depth + 1)
            for key, item in fields.items()
            if (item is not None or key in sent or key in extra) and type(item).__name__ not in SENTINELS
        }
    return plain(value)


def digest_of(data: bytes, media_type: str | None = None) -> dict[str, Any]:
    """Return what is recorded in the place of binary data: the type if it is known, the bytes, their SHA-256."""
    kind = media_type or _media_type(data[:16])
    found = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"media_type": kind, **found} if kind else found


def _media_type(head: bytes) -> str | None:
    for start, kind in _MAGIC:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None


def _decoded(text: str) -> bytes:
    """Return the bytes of a base64 text of either alphabet; of another text its own."""
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return text.encode("utf-8", "surrogatepass")


def _without_binary(text: str, name: str, holder: Mapping[str, Any]) -> Any:
    """Return a text, or the digest of the binary data that it holds."""
    if text.startswith("data:") and ";base64," in text[:200]:
        head, _, data = text.partition(";base64,")
        return digest_of(_decoded(data), head.removeprefix("data:").partition(";")[0] or None)
    if _is_sealed(name, holder):
        return text
    if name in _BINARY or (name == "result" and holder.get("type") == "image_generation_call"):
        return digest_of(_decoded(text))
    if name in ("data", "blob"):
        media_type = next((kind for key in _MEDIA_TYPES if isinstance(kind := holder.get(key), str)), None)
        if media_type is not None and not media_type.startswith("text/"):
            return digest_of(_decoded(text), media_type)
    if len(text) < _SHORTEST or not _BASE64.fullmatch(text, 0, _SHORTEST):
        return text
    if _media_type(_decoded(text[:_SHORTEST])) is None and len(text) < _LONG:
        return text
    return digest_of(_decoded(text)) if _BASE64.fullmatch(text) else text


def _is_sealed(name: str, holder: Mapping[str, Any]) -> bool:
    """Return True for a text that only the provider can open, and needs again with the next request."""
    kind = holder.get("type")
    words = f"{name} {kind if isinstance(kind, str) else ''}".lower()
    return "encrypted" in words or "signature" in words or "redacted" in words


class BinaryPiece:
    """A piece of binary data, as base64 that is complete by itself."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def joined_to(self, before: Any) -> _BinaryPieces:
        """Return what gathers the data, with this piece; see `pieces`."""
        gathered = before if isinstance(before, _BinaryPieces) else _BinaryPieces()
        if isinstance(before, BinaryPiece):
            gathered.add(before.text)
        gathered.add(self.text)
        return gathered


class _BinaryPieces:
    """Binary data that come in pieces: only their digest is kept."""

    __slots__ = ("_count", "_hash", "_head")

    def __init__(self) -> None:
        self._count = 0
        self._hash = hashlib.sha256()
        self._head = b""

    def add(self, text: str) -> None:
        """Take a piece in."""
        data = _decoded(text)
        self._count += len(data)
        self._hash.update(data)
        self._head = (self._head + data)[:16]

    def digest(self) -> dict[str, Any]:
        """Return what is recorded of them so far, as `digest_of` does."""
        kind = _media_type(self._head)
        found = {"bytes": self._count, "sha256": self._hash.hexdigest()}
        return {"media_type": kind, **found} if kind else found


class Limiter:
    """
    The limit of one key of the record.

    What is too long is left out as a whole: in the half of a secret no rule would know its form.
    """

    __slots__ = ("_left", "omitted")

    def __init__(self) -> None:
        self._left = _LARGEST
        self.omitted: dict[str, Any] = {}
        """What was left out: `OmittedRecord` by path."""

    def limited(self, value: Any, path: str, name: str = "", holder: Mapping[str, Any] | None = None) -> Any:
        """Return a copy of builtin types without what is too long; binary data that came in pieces are digested."""
        if type(value) is str:
            value = _without_binary(value, name, holder or {})
        if type(value) is BinaryPiece:
            value = value.joined_to(None)
        if type(value) is _BinaryPieces:
            value = value.digest()
        if type(value) is str:
            if len(value) > _LONGEST_TEXT or len(value) > self._left:
                return self._omit(value, path)
            self._left -= len(value)
        elif type(value) is dict:
            return {
                key: self.limited(item, f"{path}.{key.replace('~', '~0').replace('.', '~1')}", key, value)
                for key, item in value.items()
            }
        elif type(value) is list:
            if len(value) * _PER_ITEM > self._left:
                return self._omit(value, path)
            return [self.limited(item, f"{path}.{place}", name, holder) for place, item in enumerate(value)]
        else:
            self._left -= _PER_ITEM
        return value

    def _omit(self, value: Any, path: str) -> None:
        text = value if isinstance(value, str) else repr(value)
        data = text.encode("utf-8", "surrogatepass")
        self.omitted[path] = {"reason": "limit", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
