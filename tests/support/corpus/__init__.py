"""A fixed corpus of runs; `tests/behaviour/tracing/test_corpus.py` compares the lines that they write with golden files."""

from . import flows, plain, sdks, turns, values, written
from .script import SCRIPTS

__all__ = ["SCRIPTS", "flows", "plain", "sdks", "turns", "values", "written"]
