"""
The fidelity of a reference: how much of its output is in what the aggregator got.

What the aggregator was asked beside the references is left out first: a message that the reference
itself got too proves nothing, since a reference may repeat its prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ._overlap import CHARACTERS, WORDS, ngrams, unit_of, units
from ._prompt import joined_texts, messages_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._call import CallView

__all__ = ["Fidelity", "FidelityStatus", "fidelity", "reached"]

FidelityStatus = Literal["verbatim", "truncated", "altered", "absent"]

_SHORTEST = 20
"""Characters of a beginning that show that a text was cut, and not that two begin alike."""
_ALIKE = 0.2
"""Part of a text's runs of words that must be in the prompt for it to be the same text, changed."""
_BEHIND = 12
"""Characters behind a cut that are looked for, to tell a cut from a change."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """
    What the aggregator got of one reference.

    Attributes:
        name: The reference's label.
        status: `verbatim`: its whole output (white space at the ends does not count). `truncated`: its
            beginning, and nothing of the rest. `altered`: parts of it. `absent`: none of it. `None` where
            that cannot be told: it failed, ended late or said nothing, there is no aggregator, or the trace
            withholds one of the texts.
        kept: Characters of the output that the aggregator got, from the beginning; `None` where it is
            neither `verbatim` nor `truncated`.
        total: Characters of the output.
        reason: Why `status` is `None`: `failed`, `late`, `no output`, `no aggregator` or `withheld`.
    """

    name: str
    status: FidelityStatus | None
    kept: int | None = None
    total: int = 0
    reason: str | None = None

    def __str__(self) -> str:
        """Return it as `verbatim`, `truncated@1,200`, `altered`, `absent`, or why it is unknown."""
        if self.status == "truncated":
            return f"truncated@{self.kept:,}"
        return self.status or f"unknown ({self.reason})"


def fidelity(references: Iterable[CallView], aggregator: CallView | None) -> tuple[Fidelity, ...]:
    """Return, for each reference of a turn, what the aggregator got of it."""
    return tuple(_of(reference, aggregator) for reference in references)


def _of(reference: CallView, aggregator: CallView | None) -> Fidelity:
    name, output = reference.name, reference.output
    total = len(output or "")
    if reference.failed:
        return Fidelity(name, None, None, total, "failed")
    if aggregator is None:
        return Fidelity(name, None, None, total, "no aggregator")
    if reference.late or reference.pending:
        return Fidelity(name, None, None, total, "late")
    if "output" in reference.omitted or _is_withheld(aggregator):
        return Fidelity(name, None, None, total, "withheld")
    if not output or not output.strip():
        return Fidelity(name, None, None, total, "no output")
    status, kept = reached(output, reference, aggregator)
    return Fidelity(name, status, kept, total)


def _is_withheld(call: CallView) -> bool:
    return call.input_messages is None or any(path.partition(".")[0] == "input_messages" for path in call.omitted)


def reached(output: str, reference: CallView, reader: CallView) -> tuple[FidelityStatus, int | None]:
    """
    Return what stands of a reference's output in the prompt of another call, and how many characters.

    Args:
        output: What the reference said.
        reference: Whose own prompt is no evidence.
        reader: Whose prompt is looked at.
    """
    asked = messages_of(reference.input_messages)
    seen = joined_texts([one for one in messages_of(reader.input_messages) if one not in asked])
    if output in seen or (bare := output.strip()) in seen:
        return "verbatim", len(output)
    begin = len(output) - len(output.lstrip())
    end = _longest(bare, seen)
    cut = len(bare[:end].rstrip())
    if cut >= min(_SHORTEST, max(4, len(bare) // 2)) and not _goes_on(bare, cut, seen):
        return "truncated", begin + cut
    return ("altered", None) if _is_alike(bare, seen, joined_texts(asked)) else ("absent", None)


def _longest(text: str, seen: str) -> int:
    """Return how many characters from the beginning of a text are in another one."""
    low, high = 0, len(text)
    # What is found of a beginning is found of each shorter one.
    while low < high:
        middle = (low + high + 1) // 2
        if text[:middle] in seen:
            low = middle
        else:
            high = middle - 1
    return low


def _goes_on(text: str, cut: int, seen: str) -> bool:
    """Return True if something of what stands behind a cut is there too: then it was changed, not cut."""
    rest = text[cut:]
    if len(rest) < _BEHIND:
        # Too short to be looked for by pieces; as a whole it may stand there by chance.
        return False
    row = units(rest, unit_of(rest))
    size = _size(row)
    found = set(ngrams(units(seen, unit_of(rest)), size))
    return any(gram in found for gram in ngrams(row, size))


def _size(row: object) -> int:
    return max(1, min(CHARACTERS if isinstance(row, str) else WORDS, len(row)))  # type: ignore[arg-type]


def _is_alike(text: str, seen: str, asked: str) -> bool:
    unit = unit_of(text)
    row = units(text, unit)
    size = _size(row)
    own = set(ngrams(row, size)) - set(ngrams(units(asked, unit), size))
    if not own:
        return False
    return len(own & set(ngrams(units(seen, unit), size))) >= _ALIKE * len(own)
