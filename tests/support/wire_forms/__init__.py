"""
Replies of many providers as bytes, one module a family, written by hand after the public descriptions of the APIs.

Each module has `FORMS`, a list of `WireForm`. `tests/support/wire_truth.py` says what a form means,
`tests/system/sdks/test_wire_forms.py` replays each through the real SDKs.
"""

from __future__ import annotations

import importlib
import pkgutil


def all_forms():
    """Return the forms of all families."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        if module.name not in {"form", "shared"}:
            found += importlib.import_module(f"{__name__}.{module.name}").FORMS
    return found
