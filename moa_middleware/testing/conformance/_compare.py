"""The first difference between what a caller saw in two runs: a pure function of two scenario runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._caller import Event
    from ._scenario_run import ScenarioRun

__all__ = ["clip", "contrast", "differences", "flaws"]

_CLIP = 160


def clip(value: object) -> str:
    """Return the `repr` of a value, shortened in the middle."""
    text = repr(value)
    if len(text) <= _CLIP:
        return text
    half = _CLIP // 2
    return f"{text[:half]} … {text[-half:]}"


def contrast(one: object, two: object) -> tuple[str, str]:
    """Return the `repr` of two values, shortened to where they differ."""
    first, second = repr(one), repr(two)
    if max(len(first), len(second)) <= _CLIP:
        return first, second
    pairs = zip(first, second, strict=False)
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))
    begin = max(0, place - _CLIP // 2)
    parts = [text[begin : begin + _CLIP] for text in (first, second)]
    left = "… " if begin else ""
    return f"{left}{parts[0]}{_more(first, begin)}", f"{left}{parts[1]}{_more(second, begin)}"


def _more(text: str, begin: int) -> str:
    return " …" if begin + _CLIP < len(text) else ""


def differences(bare: ScenarioRun, other: ScenarioRun) -> Iterator[str]:
    """Yield what the caller saw otherwise than in the bare run, the first difference of each kind."""
    if other.failure is not None:
        yield f"the scenario raised {other.failure}, which it does not uninstrumented"
        return
    for number, (one, two) in enumerate(zip(bare.client_calls, other.client_calls, strict=False), 1):
        found = _first(one.log, two.log)
        if found:
            yield f"call {number}, {found}"
    if len(bare.client_calls) != len(other.client_calls):
        yield f"calls: uninstrumented {len(bare.client_calls)}, here {len(other.client_calls)}"
    found = _first(bare.log, other.log)
    if found:
        yield found
    pairs: list[tuple[str, object, object]] = [
        ("requests that reached the model", sorted(bare.harness.requests), sorted(other.harness.requests)),
        ("printed", bare.printed, other.printed),
    ]
    # Fewer is no harm: by then the caller holds nothing any more.
    counts = (
        ("connections left open", bare.open_at_once, other.open_at_once),
        ("connections left open after a garbage collection", bare.open_later, other.open_later),
    )
    pairs += [(what, before, after) for what, before, after in counts if after > before]
    for what, before, after in pairs:
        if before != after:
            yield _told(what, before, after)
    # The first run may import what the others have then, so it may have more of these.
    for what, has, more in (("warned", bare.warned, other.warned), ("noise", bare.noise, other.noise)):
        new = [one for one in more if one not in has]
        if new:
            yield f"{what}: {clip(new[0])}, which it does not uninstrumented"


def flaws(bare: ScenarioRun) -> Iterator[str]:
    """Yield what is wrong with the bare run: then it is the harness that does not do what it says."""
    if bare.failure is not None:
        yield f"the scenario raised {bare.failure}"
        return
    for number, client_call in enumerate(bare.client_calls, 1):
        expected = client_call.expected
        if expected is not None and expected.whole and client_call.text != client_call.plan.text:
            yield f"call {number}: the caller read {clip(client_call.text)}, the plan says {clip(client_call.plan.text)}"
        if (
            expected is not None
            and expected.outcome in ("error", "cancelled", "consumer_error")
            and client_call.raised is None
        ):
            yield f"call {number}: nothing was raised, the plan says {client_call.plan.stop or expected.outcome!r}"
    asked = {client_call.question for client_call in bare.client_calls}
    for question in bare.harness.requests:
        if question and question not in asked:
            yield f"a request nobody made reached the model: {clip(question)}"
    got = any(client_call.log and (client_call.text or client_call.chunks) for client_call in bare.client_calls)
    if got and not bare.harness.requests:
        yield "no request reached the model: does it call `plan_for` with what it is asked?"


def _first(before: Sequence[Event], after: Sequence[Event]) -> str | None:
    """Return the first event that differs."""
    for one, two in zip(before, after, strict=False):
        if one != two:
            return _event(one, two)
    if len(before) > len(after):
        return f"{before[len(after)][0]}: uninstrumented {clip(before[len(after)][1])}, here nothing"
    if len(after) > len(before):
        return f"{after[len(before)][0]}: uninstrumented nothing, here {clip(after[len(before)][1])}"
    return None


def _event(one: Event, two: Event) -> str:
    if one[0] != two[0]:
        return f"{one[0]}: here it is {two[0]} {clip(two[1])}"
    before, after = one[1], two[1]
    if isinstance(before, dict) and isinstance(after, dict):
        name = next(key for key in {**before, **after} if before.get(key, ...) != after.get(key, ...))
        before, after, what = before.get(name), after.get(name), f"{one[0]}, {name}"
    else:
        what = one[0]
    if isinstance(before, tuple) and isinstance(after, tuple) and what.endswith(" dir"):
        before, after = sorted(set(before) - set(after)), sorted(set(after) - set(before))
        return f"{what}: only uninstrumented {clip(before)}, only here {clip(after)}"
    return _told(what, before, after)


def _told(what: str, before: object, after: object) -> str:
    one, two = contrast(before, after)
    return f"{what}: uninstrumented {one}, here {two}"
