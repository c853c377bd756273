"""
The record of a request: one for each attempt of a call.

A wrapper call and its only inner call share one record. There role, label and output are those of the outer call; the model, the request and the tokens are
those of the inner one, which is what the model got.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ..._redaction.messages import without_secrets
from ...records import EMPTY_CALL, TOKENS
from ..shapes.fields import fields_of
from .credentials import hide, texts
from .encode import encode
from .recorded_call import Entry
from .snapshot import EMPTY, NULL

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..flow.model import Reply
    from ..flow.outcome import ErrorInfo
    from ..turns.turn import Attempt, CallState
    from .snapshot import Snapshot

__all__ = ["bare_entry", "credentials_of", "entries_of", "error_record"]

_WORDS = frozenset({"response_id", "response_model", "system_fingerprint", "service_tier"})
_NUMBERS = frozenset({int, float})
_TEXTS = _WORDS | {"cost_status", "cost_source"}
_EMPTY: dict[str, Any] = {**EMPTY_CALL, "input_messages": NULL, "params": EMPTY}
_tokens: Any = attrgetter(*TOKENS)
# What a call around a single other one says itself, where it knows it; else the call inside says it.
_OUTERMOST = ("finish_reason", "reasoning", "refusal", "chunks")


def error_record(error: ErrorInfo, credentials: Sequence[str] = ()) -> dict[str, Any]:
    """Return an exception as the record holds it; SDKs put refused keys into their messages."""
    return {"type": error.type, "message": hide(error.message, credentials), **error.facts}


def credentials_of(attempt: Attempt) -> list[str]:
    """Return the texts that an exception of a request must not quote: its own, and those of the calls inside it."""
    shot: Snapshot | None = attempt.snapshot
    found = texts(shot.secrets if shot is not None else (), attempt.call_state.client)
    found += attempt.call_state.turn.secrets
    for inner in attempt.inner:
        for one in inner.attempts:
            found += credentials_of(one)
    return sorted(found, key=len, reverse=True)


def _fields(call_state: CallState, attempt: Attempt, *, late: bool) -> dict[str, Any]:
    """Return the record of one attempt, roles and index still open."""
    shot: Snapshot | None = attempt.snapshot
    model = attempt.model or call_state.model
    # A key by keyword costs two instructions, in a display three, set by itself five. With more than
    # 15 keywords CPython puts a dictionary together for them, which costs more than all of these.
    fields = dict(
        _EMPTY,
        label=attempt.label or call_state.label or model or call_state.name or None,
        model=model,
        provider=attempt.provider or call_state.provider,
        streamed=attempt.streamed,
        call_id=attempt.id,
        parent=call_state.parent.id if call_state.parent is not None else None,
        role=call_state.role,
        role_source=call_state.role_source,
        layer=call_state.layer,
        attempt=attempt.number,
        started_at=attempt.clock.started_at,
        endpoint=call_state.endpoint,
        late=late,
    )
    if shot is not None:
        _add_request(fields, shot)
    reply = attempt.reply
    if reply is not None and (call_state.settled or late or _is_followed(call_state, attempt)):
        _add_reply(fields, reply, attempt)
    return fields


def _add_request(fields: dict[str, Any], shot: Snapshot) -> None:
    fields.update(temperature=shot.temperature, input_messages=shot.messages or shot.pulled(), params=shot.params)
    if shot.omitted or shot.unread:
        fields["params_omitted"] = shot.params_omitted


def _is_followed(call_state: CallState, attempt: Attempt) -> bool:
    """Return True if a further request came after this one, so that it has ended even if its call has not."""
    return len(call_state.attempts) > attempt.number


def _add_reply(fields: dict[str, Any], reply: Reply, attempt: Attempt) -> None:
    """Add what a request returned, and how it ended."""
    text, cost, clock = reply.text, reply.cost_usd, attempt.clock
    details: Mapping[str, Any] = reply._details
    fields.update(
        output=text,
        outcome=reply.outcome,
        chunks=reply.chunks,
        finish_reason=reply.finish_reason,
        reasoning=reply.reasoning,
        refusal=reply.refusal,
        source=reply.source,
    )
    if text:
        fields["output_location"] = "inline_from_stream" if attempt.streamed else "inline"
    if reply.usage is not None:
        fields["usage"] = dict(zip(TOKENS, _tokens(reply.usage), strict=True))
    if cost is not None:
        fields.update(cost_usd=cost, cost_status="reported", cost_source=reply.source)
    for name in _TEXTS.intersection(details):
        value = details[name]
        if isinstance(value, str) and (value or name in _WORDS):
            fields[name] = value
    if attempt.error is not None:
        fields["error"] = error_record(attempt.error, credentials_of(attempt))
        fields["streamed"] = _is_streamed(attempt)
    if clock.ended_ns is not None:
        fields["duration_ms"] = duration = (clock.ended_ns - clock.started_ns) / 1e6
        fields["ended_at"] = clock.started_at + duration / 1e3
    if clock.first_ns is not None:
        fields["first_chunk_ms"] = (clock.first_ns - clock.started_ns) / 1e6
    if reply.tool_calls:
        fields["tool_calls"] = list(reply.tool_calls)
    if reply.choices:
        fields["choices"] = list(reply.choices)
    if type(details.get("created")) in _NUMBERS:
        fields["created"] = details["created"]
    if "items" in details:
        fields.update(details["items"].record())
    if "usage_raw" in details:
        fields["usage_raw"] = _usage_raw(details["usage_raw"])
    if text is None and details.get("unknown") is not None:
        # Not by a slice: half a secret has no form by which the rules could know it.
        fields["raw"] = {
            name: without_secrets(value, most=500, is_whole=False) for name, value in details["unknown"].items()
        }


def _is_streamed(attempt: Attempt) -> bool:
    """Return True if a reply is a stream, or failed before it was one although that was asked for."""
    request = attempt.call_state.request
    return attempt.streamed or (attempt.error is not None and request is not None and request.stream)


def _usage_raw(value: Any) -> Any:
    """
    Return the provider's usage object.

    That of an SDK contains numbers, and its `model_dump` would take 40 µs: its fields are encoded
    with the rest of the record. Anything else is encoded by itself.
    """
    if value is None:
        return None
    try:
        shown = _figures(value, depth=1)  # one level below it are the details, models too
    except Exception:
        shown = None
    return encode(value) if shown is None else shown


def _figures(value: Any, depth: int) -> dict[str, Any] | None:
    """Return the fields of a model of plain values, and of such models, `None` for anything else."""
    # Not `model_dump`: it takes 40 µs. But only where the fields are plain figures, at most in one model
    # below, may the dictionary itself go into the record: whatever else a subclass keeps there might be an
    # iterator, or have a serialiser of its own.
    fields = fields_of(value, models_only=True)
    if type(fields) is not dict or not _STRINGS.issuperset(map(type, fields)):
        return None
    if _PLAIN.issuperset(map(type, fields.values())):
        return fields
    shown: dict[str, Any] = {}
    for name, part in fields.items():
        shown[name] = part if type(part) in _PLAIN else _figures(part, depth - 1) if depth else None
        if shown[name] is None and part is not None:
            return None
    return shown


_PLAIN = frozenset({bool, int, float, str, type(None)})
_STRINGS = frozenset({str})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _add_inner(
    fields: dict[str, Any],
    inside: Sequence[tuple[CallState, Attempt]],
    credentials: list[str],
    *,
    ended_ns: int | None,
    late: bool,
) -> None:
    """
    Complete the record of a call from the single call inside it, and from the single one inside that.

    What the model was asked, its name, the provider's ids and the tokens are those of the innermost
    call that knows them. What was returned is the outermost's; if the model said something else,
    that is in `model_output`. An error or cancellation inside a call that completed was handled by
    its function.

    Args:
        fields: The record of the outer call.
        inside: The calls inside it and their requests, the innermost last.
        credentials: Texts that no error may quote.
        ended_ns: When the outer call ended.
        late: Whether they ended after their turn.
    """
    shot: Snapshot | None = inside[-1][1].snapshot
    fields.update(temperature=None, input_messages=NULL, params=EMPTY, params_omitted=[])
    if shot is not None:
        _add_request(fields, shot)
    words: str | None = None
    for call_state, attempt in inside:
        # What had not ended when the turn closed is in a late line.
        reply = attempt.reply if call_state.settled or late or _is_followed(call_state, attempt) else None
        error = attempt.error if reply is not None else None
        shown = error_record(error, credentials) if error is not None else None
        # The outer call's words win, except in three cases: its function returned an open stream inside a
        # holder, so that only the inner one saw the end; it caught the inner error and returned something else;
        # or it failed with an exception that says nothing, because of the inner one.
        was_caught = reply is not None and reply.outcome in ("error", "cancelled")
        if was_caught and attempt.streamed and ended_ns is not None and not fields["output"]:
            # A stream that ended after its function did was handed out: nobody has caught anything.
            was_caught = (attempt.clock.ended_ns or ended_ns) < ended_ns
        if fields["outcome"] == "completed" and not fields["output"] and attempt.streamed and not was_caught:
            # Its function handed the inner call's stream out in a holder: the reply ended as that stream did.
            duration = attempt.clock.duration_ms if reply is not None else None
            fields["outcome"] = reply.outcome if reply is not None else None
            fields["error"] = shown
            fields["duration_ms"] = duration
            fields["ended_at"] = attempt.clock.started_at + duration / 1e3 if duration is not None else None
        elif fields["outcome"] == "completed" and reply is not None and was_caught:
            fields["outcome"], fields["handled"], fields["error"] = reply.outcome, True, shown
        elif fields["outcome"] == "error" and fields["error"] is None:
            fields["error"] = shown
        fields["model"] = attempt.model or call_state.model or fields["model"]
        fields["endpoint"] = call_state.endpoint or fields["endpoint"]
        fields["provider"] = fields["provider"] or attempt.provider or call_state.provider
        if not fields["streamed"]:
            fields["streamed"] = attempt.streamed if attempt.error is None else _is_streamed(attempt)
        if reply is not None:
            words = reply.text or words
            _add_inner_reply(fields, reply, attempt)
    if fields["output"]:
        fields["output_location"] = "inline_from_stream" if fields["streamed"] else "inline"
        fields.pop("raw", None)
        if words and words != fields["output"]:
            fields["model_output"] = words


def _add_inner_reply(fields: dict[str, Any], reply: Reply, attempt: Attempt) -> None:
    details: Mapping[str, Any] = reply._details
    if type(details.get("created")) in _NUMBERS:
        fields["created"] = details["created"]
    if "items" in details:
        fields.update(details["items"].record())
    for name in _WORDS:
        fields[name] = _text(details.get(name)) or fields[name]
    if details.get("usage_raw") is not None:
        fields["usage_raw"] = _usage_raw(details["usage_raw"])
    if reply.usage is not None:
        fields["usage"] = dict(zip(TOKENS, _tokens(reply.usage), strict=True))
    # The outer call may know the price (litellm) where the provider reports none.
    cost = reply.cost_usd
    if cost is not None or fields["cost_usd"] is None:
        fields["cost_usd"] = cost
        status, source = ("reported", reply.source) if cost is not None else (None, None)
        fields["cost_status"] = _text(details.get("cost_status")) or status or fields["cost_status"]
        fields["cost_source"] = _text(details.get("cost_source")) or source or fields["cost_source"]
    fields["output"] = fields["output"] or reply.text
    for name in _OUTERMOST:
        if not fields[name]:
            fields[name] = getattr(reply, name)
    if not fields["first_chunk_ms"]:
        fields["first_chunk_ms"] = attempt.clock.first_chunk_ms
    if not fields["tool_calls"]:
        fields["tool_calls"] = list(reply.tool_calls)
    if not fields["choices"] and reply.choices:
        fields["choices"] = list(reply.choices)
    if fields["source"] == "provider":
        fields["source"] = reply.source


def entries_of(call_state: CallState, *, late: bool = False, apart: Collection[CallState] = ()) -> list[Entry]:
    """
    Return the records of a call and of the calls inside it.

    Those that are `apart` have a line of their own.
    """
    entries: list[Entry] = []
    for attempt in call_state.attempts:
        _add_entries(entries, call_state, attempt, late=late, apart=apart, is_outermost=True)
    if len(call_state.attempts) > 1:
        _mark_retried(entries, call_state, late=late)
    return entries


def _mark_retried(entries: Sequence[Entry], call_state: CallState, *, late: bool) -> None:
    """Mark the failed requests of a call that completed in the end: a middleware caught their errors."""
    final = call_state.final
    if (call_state.settled or late) and final.reply is not None and final.reply.outcome == "completed":
        _mark_handled(entries, final)


def _mark_handled(entries: Sequence[Entry], completed: Attempt) -> None:
    """
    Mark the requests that failed before another one completed, which is around them or followed them.

    What failed later was handed out, for example as a stream in a holder: the function did not catch it.
    A cancelled request is not marked: a function that lets two race cancels the slower one on purpose, which
    is not a failure, and what is marked counts as one.
    """
    end = completed.clock.ended_ns
    for entry in entries:
        ended = entry.attempt.clock.ended_ns
        if entry.fields["outcome"] == "error" and end is not None and ended is not None and ended <= end:
            entry.fields["handled"] = True


def bare_entry(call_state: CallState) -> Entry:
    """Return a record of a call's last request without its content, where the whole one could not be made."""
    attempt = call_state.final
    clock, reply = attempt.clock, attempt.reply
    fields: dict[str, Any] = dict(_EMPTY)
    fields.update(
        label=call_state.name or None,
        call_id=attempt.id,
        attempt=attempt.number,
        started_at=clock.started_at,
        ended_at=clock.ended_at,
        duration_ms=clock.duration_ms,
        streamed=attempt.streamed,
    )
    if reply is not None and call_state.settled:
        fields.update(outcome=reply.outcome, source="provider")
    return Entry(fields, is_last=True, has_inner=False, call_state=call_state, attempt=attempt)


def _add_entries(
    entries: list[Entry],
    call_state: CallState,
    attempt: Attempt,
    *,
    late: bool,
    apart: Collection[CallState],
    is_outermost: bool = False,
) -> None:
    """Add the record of a request, behind those of the calls inside it that are not one with it."""
    first = len(entries)
    inside: list[tuple[CallState, Attempt]] = []
    inner: list[CallState] = []
    if attempt.inner:
        # A decorated function that makes one call of the SDK's is the usual case: two calls for this library,
        # one request for the reader. They become one record, however deep such functions are nested; from two
        # calls inside on, each has its own. A retry inside is a request of its own in any case. Calls that are
        # `apart` still run, or are being written by another thread: they get late lines.
        inner = [call for call in attempt.inner if call.attempts]
        while len(inner) == 1 and inner[0] not in apart:
            (call,) = inner
            if len(call.attempts) > 1:
                start = len(entries)
                for earlier in call.attempts:
                    if earlier is not call.final:
                        _add_entries(entries, call, earlier, late=late, apart=apart)
                _mark_retried(entries[start:], call, late=late)
            inside.append((call, call.final))
            inner = [call for call in call.final.inner if call.attempts]
        for call in inner:
            start = len(entries)
            for one in call.attempts:
                _add_entries(entries, call, one, late=late, apart=apart)
            if len(call.attempts) > 1:
                _mark_retried(entries[start:], call, late=late)
    fields = _fields(call_state, attempt, late=late)
    if attempt.inner and fields["outcome"] == "completed":
        _mark_handled(entries[first:], attempt)
    if inside:
        credentials = credentials_of(attempt) if any(request.error for _, request in inside) else []
        _add_inner(fields, inside, credentials, ended_ns=attempt.clock.ended_ns, late=late)
        fields["label"] = attempt.label or call_state.label or fields["model"] or call_state.name or None
        # The requests that are one with this one have no record, so no id either.
        ids = {request.id for _, request in inside}
        for entry in entries[first:]:
            if entry.fields["parent"] in ids:
                entry.fields["parent"] = attempt.id
    is_last = is_outermost and attempt is (call_state.chosen or call_state.attempts[-1])
    entries.append(Entry(fields, is_last, bool(inner), call_state, attempt))
