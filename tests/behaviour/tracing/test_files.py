"""Where a line is written: directories, files of sessions, and whole lines."""

from __future__ import annotations

import os
import stat
import threading

import moa_middleware as moa
from moa_middleware._capture.tracing.writer import file_name
from tests.support.plain_calls import ask


def test_directory_and_file_belong_to_the_owner_alone(trace_dir, read_lines):
    """Mode 0700 and 0600, whatever the umask."""
    old = os.umask(0)
    try:
        ask("hi")
    finally:
        os.umask(old)
    (file,) = trace_dir.iterdir()
    assert "unknown-session.jsonl" == file.name
    assert 0o700 == stat.S_IMODE(trace_dir.stat().st_mode)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_directory_that_is_there_keeps_its_mode(trace_dir):
    """It is the host's own."""
    trace_dir.mkdir(mode=0o755)
    ask("hi")
    assert 0o755 == stat.S_IMODE(trace_dir.stat().st_mode)


def test_each_session_has_its_file(trace_dir, read_lines):
    """Named by the tag, the decorator, the call's own argument or the setting, in this order."""

    @moa.turn(session_id="decorator")
    def decorated():
        return "x"

    @moa.turn
    def plain(session_id=None):
        return "x"

    decorated()
    with moa.tag(session_id="tag"):
        decorated()
    plain(session_id="argument")
    os.environ["MOA_SESSION_ID"] = "setting"
    try:
        plain()
        plain(session_id="argument")
    finally:
        del os.environ["MOA_SESSION_ID"]
    expected = ["argument", "decorator", "setting", "tag"]
    assert expected == sorted(path.stem for path in trace_dir.iterdir())
    assert 2 == len(read_lines(trace_dir)) - 3


HOSTILE_IDS = [
    "../../x", "..", ".", "", "a/b", "a_b", "a\\b", "nul\0l", "x" * 300, "x" * 301, "CON", "con",
    "con.txt", "LPT1", "unknown-session", "😀", "é", "e\u0301", " ", "a b", ".hidden", "end.",
    "\ud800", "a\nb", "~", "ｱ", "\u202e", "a" * 100, "中" * 100,
]  # fmt: skip


def test_no_session_id_leaves_the_directory_and_no_two_share_a_file():
    """Traversal, NUL, length, devices, look-alikes and surrogates."""
    names = [file_name(session) for session in [None, *HOSTILE_IDS]]
    assert len(names) == len(set(names))
    for name in names:
        assert name == os.path.basename(name)
        assert name.endswith(".jsonl")
        assert not name.startswith(".")
        assert len(name.encode()) <= 255
        assert "\0" not in name
    assert "bench-07.a_b.jsonl" == file_name("bench-07.a_b")
    assert "中文.jsonl" == file_name("中文")


def test_hostile_session_ids_are_written_and_read_back(trace_dir, read_lines):
    """The record has the id itself, the file its safe name."""
    for session in HOSTILE_IDS:
        with moa.tag(session_id=session):
            ask("hi")
    found = read_lines(trace_dir)
    assert sorted(s for s in HOSTILE_IDS if s != "\ud800") == sorted(
        r["session_id"] for r in found if r["session_id"] != "\ud800"
    )
    assert len(HOSTILE_IDS) == len(found) == len(list(trace_dir.iterdir()))


def test_a_line_is_one_write(trace_dir, monkeypatch):
    """Two writers' lines cannot interleave where each is one `write` on an O_APPEND descriptor."""
    sizes = []
    write = os.write

    def counting(descriptor, data):
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counting)
    ask("x" * 1_000_000)
    assert 1 == len(sizes)
    assert sizes[0] > 1_000_000


def test_threads_append_whole_lines(trace_dir, read_lines):
    """Many threads, one session: every line is there and whole."""
    threads = [threading.Thread(target=lambda n=n: [ask(f"{n}-{i}" * 2000) for i in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_lines(trace_dir)
    assert 160 == len(found)
    assert list(range(1, 161)) == sorted(r["writer"]["seq"] - min(r["writer"]["seq"] for r in found) + 1 for r in found)
