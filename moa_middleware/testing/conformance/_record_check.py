"""The check of the written lines against a scenario: a pure function of its run."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from ...records import SCHEMA, TurnRecord
from ._compare import clip, contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...records import CallRecord
    from ._caller import ClientCall
    from ._harness import ClientHarness
    from ._scenario_run import ScenarioRun

__all__ = ["complaints"]


@cache
def _schema() -> TypeAdapter[TurnRecord]:
    return TypeAdapter(TurnRecord)


def complaints(scenario_run: ScenarioRun) -> Iterator[str]:
    """Yield what is wrong with the lines of a run; nothing else may have been written."""
    client_calls = [client_call for client_call in scenario_run.client_calls if client_call.expected is not None]
    for line in scenario_run.lines:
        wrong = _malformed(line)
        if wrong:
            yield wrong
            return
    required = sum(not _never_asked(client_call, scenario_run.harness) for client_call in client_calls)
    if not required <= len(scenario_run.lines) <= len(client_calls):
        outcomes = [line.get("outcome") for line in scenario_run.lines]
        yield f"lines: {len(client_calls)} expected, {len(scenario_run.lines)} written (outcomes: {clip(outcomes)})"
        return
    for client_call in client_calls:
        mine = [line for line in scenario_run.lines if client_call.question in _asked(line, scenario_run.harness)]
        where = f"the record of {client_call.question!r}"
        if not mine and _never_asked(client_call, scenario_run.harness):
            continue
        if len(mine) != 1:
            yield f"{where}: {len(mine)} of the lines have this question in their request"
            continue
        (line,) = mine
        call = scenario_run.harness.answer_of(line)
        if call is None:
            yield f"{where}: no call of it answered (roles: {clip(_roles(line))})"
            continue
        for name, wanted, found in _expected(client_call, line, call):
            if wanted != found:
                one, two = contrast(wanted, found)
                yield f"{where}, {name}: expected {one}, found {two}"
        yield from (f"{where}, {found}" for found in _times(client_call, line, call))
        try:
            scenario_run.harness.check(line)
        except AssertionError as error:
            yield f"{where}: {error}"


def _never_asked(client_call: ClientCall, harness: ClientHarness) -> bool:
    """Return True if a stream was left before its client asked the model: a generator that never ran is not a call."""
    expected = client_call.expected
    left = expected is not None and expected.outcome in ("closed", "abandoned")
    return left and client_call.question not in harness.requests


def _asked(line: TurnRecord, harness: ClientHarness) -> str:
    call = harness.answer_of(line)
    return json.dumps(None if call is None else call["input_messages"], ensure_ascii=False)


def _roles(line: TurnRecord) -> list[object]:
    calls = [*line["references"], *line["calls"]]
    return [call["role"] for call in (calls if line["aggregator"] is None else [*calls, line["aggregator"]])]


def _malformed(line: Any) -> str | None:
    """Return where a line is not of the published form; a key beyond it is none of it either."""
    if not isinstance(line, dict) or line.get("schema") != SCHEMA:
        return f"a line is no {SCHEMA}: {clip(line.get('schema') if isinstance(line, dict) else line)}"
    try:
        read = _schema().validate_python(line, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"a line is malformed at {'.'.join(map(str, first['loc']))}: {first['msg']}"
    if read != line:
        return f"a line has keys that the record does not have: {clip(_more(line, read))}"
    return None


def _more(line: Any, read: Any) -> list[str]:
    """Return the paths of what one has beyond the other."""
    if isinstance(line, dict) and isinstance(read, dict):
        found = [key for key in line if key not in read]
        return found + [f"{key}.{path}" for key in read for path in _more(line[key], read[key])]
    if isinstance(line, list) and isinstance(read, list):
        return [f"{n}.{path}" for n, pair in enumerate(zip(line, read, strict=True)) for path in _more(*pair)]
    return []


def _expected(client_call: ClientCall, line: TurnRecord, call: CallRecord) -> Iterator[tuple[str, object, object]]:
    """Yield name, expected and found value of each key that the scenario determines."""
    expected, harness = client_call.expected, client_call.user.harness
    assert expected is not None  # noqa: S101 - the caller has asked
    yield "outcome of the turn", expected.outcome, line["outcome"]
    yield "outcome", expected.outcome, call["outcome"]
    yield "instrumentation_errors", 0, line["instrumentation_errors"]
    yield "input_messages", harness.input_of(client_call.messages), call["input_messages"]
    text = expected.text
    yield "output", text, call["output"]
    yield "output of the turn", text, line["output"]
    if expected.streamed is not None:
        yield "streamed", expected.streamed, call["streamed"]
        inline = "inline_from_stream" if expected.streamed else "inline"
        yield "output_location", inline if text else "absent", call["output_location"]
        if expected.chunks is not None:
            yield "chunks", expected.chunks if expected.streamed else None, call["chunks"]
    for name, error in (("error", call["error"]), ("error of the turn", line["error"])):
        yield name, expected.error, error and (error["type"], harness.clean(error["message"] or ""))
    if harness.model is not None:
        yield "model", harness.model, call["model"]
    yield "late", False, call["late"]
    yield "source", "provider", call["source"]
    if line["implicit"]:
        yield "totals.calls", 1, line["totals"]["calls"]
    yield "totals.failed", int(expected.outcome == "error"), line["totals"]["failed"]
    if expected.whole:
        yield from _whole(client_call, call)


def _whole(client_call: ClientCall, call: CallRecord) -> Iterator[tuple[str, object, object]]:
    """Do the same for what only a whole reply has."""
    plan, harness = client_call.plan, client_call.user.harness
    if "usage" in harness.supports:
        wanted = harness.usage(plan)
        found = call["usage"]
        if wanted is not None:
            yield "usage", dict(wanted), {key: found.get(key) for key in wanted} if wanted else found
    if "finish_reason" in harness.supports:
        yield "finish_reason", harness.finish_reason(plan), call["finish_reason"]
    if "tools" in harness.supports:
        yield "tool_calls", harness.tool_calls(plan), call["tool_calls"]
    if "reasoning" in harness.supports:
        yield "reasoning", "".join(plan.reasoning) or None, call["reasoning"]
    if "refusal" in harness.supports:
        yield "refusal", plan.refusal, call["refusal"]
    if "choices" in harness.supports:
        texts = ["".join(pieces) for pieces in (plan.pieces, *plan.more_choices)] if plan.more_choices else None
        yield "choices", texts, None if call["choices"] is None else [_text(one) for one in call["choices"]]


def _text(choice: Any) -> object:
    """Return the text of an entry of `choices`."""
    return choice.get("output", choice.get("text")) if isinstance(choice, dict) else choice


def _times(client_call: ClientCall, line: TurnRecord, call: CallRecord) -> Iterator[str]:
    """Yield which times cannot be."""
    for what, one in (("turn", line), ("call", call)):
        started, ended, duration = one["started_at"], one["ended_at"], one["duration_ms"]
        if ended is None or duration is None:
            yield f"ended_at and duration_ms of the {what}: missing"
        elif duration < 0 or ended < started:
            yield f"duration_ms of the {what}: it ended {started - ended:.6f} s before it began"
    first, duration = call["first_chunk_ms"], call["duration_ms"]
    if client_call.chunks and call["streamed"] and first is None:
        yield "first_chunk_ms: missing"
    if first is not None and duration is not None and not 0 <= first <= duration:
        yield f"first_chunk_ms: {first} is not between 0 and duration_ms, {duration}"
    if line["ts"] < line["started_at"]:
        yield "ts: it was written before it began"
