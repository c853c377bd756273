"""What is worth a look and not wrong: notices have codes of their own, and leave the result as it is."""

from __future__ import annotations

import pytest

import moa_middleware as moa
from moa_middleware import errors, read


@pytest.fixture
def empty(desk):
    """Return traces with a turn without a call, one with a call, and one around another."""

    @moa.turn(session_id="s")
    def nothing(prompt):
        return "nothing"

    @moa.turn(session_id="s")
    def outer(prompt):
        return asked(prompt)

    @moa.turn(session_id="s")
    def asked(prompt):
        return answer(prompt)

    @moa.aggregator
    def answer(prompt):
        return "an answer"

    moa.configure(save_traces=True, trace_dir=desk / "traces")
    nothing("q")
    outer("q")
    return desk / "traces"


def test_a_turn_without_a_call_is_a_notice(empty):
    """One around another turn is none; the traces are clean all the same."""
    report = read.verify(empty)
    assert (True, 0, {"N301": 1}) == (report.clean, report.total, dict(report.notice_counts))
    (notice,) = report.notices
    assert ("N301", "turn-without-call", 1) == (notice.code, notice.name, notice.line)
    assert {} == dict(read.verify(empty, ignore=["N301"]).notice_counts)
    with pytest.raises(errors.QueryError, match="E202, N301, N302"):
        read.verify(empty, ignore=["N999"])


@pytest.mark.parametrize(("unread", "says"), [(1, "1 of its replies was"), (3, "3 of its replies were")])
def test_unread_replies_are_a_notice(unread, says, empty):
    """The record counts them."""
    (file,) = empty.glob("*.jsonl")
    lines = file.read_text().splitlines()
    lines[1] = lines[1].replace('"totals":{', f'"totals":{{"unread":{unread},', 1)
    file.write_text("\n".join(lines) + "\n")
    report = read.verify(empty, ignore="N301")
    assert [("N302", 2, f"{says} not understood")] == [(one.code, one.line, one.message) for one in report.notices]
    assert report.clean
