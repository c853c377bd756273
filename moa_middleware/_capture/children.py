"""
Children that `multiprocessing` and joblib spawn: what `moa run` was asked for holds there too.

A spawned child starts a new interpreter that knows nothing of `run`. The first thing that it unpickles
is the dictionary of `get_preparation_data`, before its `__main__` is imported.
"""

from __future__ import annotations

from typing import Any

import wrapt

from .calls.function import Options
from .config import default_stack
from .instrument import report
from .instrument import targets as _targets
from .own_functions import split, watch_module
from .process import this
from .recorder import load_recorder, state

__all__ = ["begin"]

_SPAWN = ("multiprocessing.spawn", "joblib.externals.loky.backend.spawn", "loky.backend.spawn")
"""Modules that start a new interpreter for a child, in the same way."""


def begin(targets: str, own: str, defaults: dict[str, Any], given: dict[str, Any], *, is_child: bool = False) -> None:
    """
    Set up this process, and the children that `multiprocessing` will spawn.

    Args:
        targets: As in `MOA_INSTRUMENT`, without those of the program itself.
        own: Those of the program itself. `own_functions` wraps them in the process that runs it.
        defaults: Settings where neither the environment nor the program says anything.
        given: Settings of the command line. Those of the program replace them.
        is_child: Whether this is such a child. It logs nothing that its parent has logged.
    """
    this.is_run = True
    if not is_child:
        # First of all, since functions of `atexit` run in the reverse order: what the program does at its
        # end, the turn of the whole program too, is over when it is said what was not recorded.
        report.at_exit(default_stack)
    with state.lock:
        state.defaults = defaults
        state.overrides = {**given, **state.overrides}
        state.changed()
    if targets or own:
        load_recorder()
        _targets.apply(targets, default_stack, Options("call"), report=not is_child)
    if is_child and own:
        # It runs the program as the module `__mp_main__`, without its main part. Wrapped when that is done, in the
        # module, the functions would still find each other unwrapped: their globals are those of another one.
        watch_module(split(own)[0], default_stack, report=False)

    def when_imported(spawn: Any) -> None:
        asked = spawn.get_preparation_data

        # joblib's children do not import the program: its functions come by value, in their wrappers.
        owned = own if spawn.__name__ == _SPAWN[0] else ""

        def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
            return {**asked(*args, **kwargs), __name__: _ChildSettings(targets, owned, defaults, given)}

        spawn.get_preparation_data = get_preparation_data

    for name in _SPAWN:
        wrapt.register_post_import_hook(when_imported, name)


class _ChildSettings:
    """
    What a child is to do, as a piece of data that it unpickles.

    The child may not find this package, so the data is a piece of source code that tries, and passes
    if it cannot.
    """

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> Any:
        this.start_child()
        code = f"from {__name__} import begin; begin(*{self.args!r}, is_child=True)"
        return exec, (f"try: {code}\nexcept Exception: pass", {})
