"""What the traces of a test contain."""

from __future__ import annotations

import gc
import json

import pytest

import moa_middleware as moa


@pytest.fixture
def told(trace_dir):
    """Return a function that gives every byte that was written, and every record that was handed out."""
    records = []
    moa.configure(on_turn=records.append)

    def gather():
        gc.collect()
        moa.flush()
        files = [path.read_text() for path in sorted(trace_dir.rglob("*")) if path.is_file()]
        assert files
        return "\n".join([*files, *(json.dumps(record, ensure_ascii=False) for record in records)])

    gather.records = records
    gather.dir = trace_dir
    return gather
