"""
Picklers that take functions and classes by value: which one asks, and what it would find by name.

`pickle` writes the name of a function or class, and the other process imports it. In a notebook or
script the name leads nowhere there, so cloudpickle (which joblib, Ray, Dask and Spark use, each its own
copy) and dill take such functions and classes apart. This module must not know our wrappers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["by_name", "by_value_pickler", "class_for_picklers", "default_stack", "goes_by_name", "is_dill"]


def by_value_pickler(frame: FrameType) -> Any:
    """
    Return the pickler that called a `__reduce_ex__`, `None` for one that pickles by name.

    Args:
        frame: The frame that called it. A pickler written in C has none, and then it is that of its `dump`.
    """
    # A reducer is not passed its pickler. So a wrapper would have to choose blindly: a name, which leads
    # nowhere in the other process, or the function, which `pickle` itself refuses to take.
    if _PICKLERS.isdisjoint(str(frame.f_globals.get("__name__")).split(".")):
        # Python keeps what `f_locals` returns with the frame. In the user's own, which calls `pickle.dumps`,
        # a stream that is deleted would live on in it until the function returns.
        return None
    names = frame.f_code.co_varnames
    pickler = frame.f_locals.get(names[0]) if names else None
    for kind in type(pickler).__mro__:
        if any(part in ("cloudpickle", "dill") for part in kind.__module__.split(".")):
            return pickler
    return None


_PICKLERS = frozenset({"cloudpickle", "cloudpickle_fast", "dill", "pickle"})
"""Names in the path of a module whose code calls a reducer, or the `dump` of C that does; dill's class is Python's."""


def is_dill(pickler: Any) -> bool:
    """Return True for a pickler of dill's."""
    return any(kind.__module__.partition(".")[0] == "dill" for kind in type(pickler).__mro__)


# cloudpickle takes everything for a plain function that `isinstance` calls one, and so it would take the
# function out of its wrapper. `reducer_override` is what the protocol of `pickle` calls the method that asks.
def _class_of(wrapper: Any) -> Any:
    if sys._getframe(1).f_code.co_name == "reducer_override":
        return type(wrapper)
    return wrapper.__wrapped__.__class__


def _set_class(wrapper: Any, kind: type) -> None:
    wrapper.__wrapped__.__class__ = kind


class_for_picklers: Any = property(_class_of, _set_class)
"""The `__class__` of a wrapper: that of the function, but for a pickler that is about to take it apart."""


def by_name(qualname: str, module: str | None) -> Any:
    """Return what a qualified name leads to, `None` if it leads nowhere."""
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def goes_by_name(obj: Any, pickler: Any) -> bool:
    """Return True if a pickler that takes by value what has no name takes a function or class by its name."""
    module, name = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    if module in (None, "__main__") or name is None or by_name(name, module) is not obj:
        return False
    # `cloudpickle.register_pickle_by_value(module)`, for modules that the workers do not have.
    for kind in type(pickler).__mro__:
        registry = getattr(sys.modules.get(kind.__module__), "list_registry_pickle_by_value", None)
        if registry is not None:
            return not any(module == name or module.startswith(f"{name}.") for name in registry())
    return True


def default_stack() -> Any:
    """Return the default stack of the process: a pickled stack's name, in place of what is on it."""
    return sys.modules[__name__.partition(".")[0]].default_stack  # which is made on a higher floor
