"""
Scalars, arrays and tables of the libraries that programs compute with; none of them is imported here.

A scalar, and what has few items, is shown by its value; anything longer by its type and shape. Only
methods of the library's own class are called: a subclass of the user's may override them.
"""

from __future__ import annotations

from math import prod
from typing import Any

__all__ = ["array_of"]

_LIBRARIES = frozenset({"cupy", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow", "tensorflow", "torch"})
_LISTED = ("tolist", "to_list", "to_pylist")
"""Methods that return the items as a list, as the libraries name them."""
_VALUES_OF_PANDAS = frozenset({"Interval", "NAType", "Period", "Timedelta"})
_MOST = 256
"""Items of an array that are shown by value."""


def array_of(value: Any) -> tuple[bool, Any]:
    """
    Return whether a value is of one of the libraries, and what is shown of it.

    Returns:
        Its value in a list of one item, or a text with its type and shape where it is too long.
    """
    kind = type(value)
    base: Any = next((base for base in kind.__mro__ if _root_of(base) in _LIBRARIES), None)
    if base is None:
        return False, None
    name = f"<{base.__module__}.{base.__qualname__}>"
    shape = _shape_of(value, base)
    if shape is None:
        # Of any other object its type is all that is known.
        is_value = base.__qualname__ in _VALUES_OF_PANDAS and _root_of(base) == "pandas"
        return (True, [f"{name} {str(value)[:500]}"]) if is_value else (False, None)
    if prod(shape) <= _MOST and _is_near(value):
        found = _items_of(value, base, shape)
        if found is not None:
            return True, found
    dtype = getattr(value, "dtype", "")
    return True, f"{name} {dtype} {shape}" if dtype != "" else f"{name} {shape}"


def _root_of(kind: type) -> str:
    module = kind.__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def _shape_of(value: Any, base: Any) -> tuple[int, ...] | None:
    shape = getattr(value, "shape", None)
    if shape is None:
        return (len(value),) if hasattr(base, "to_pylist") else None
    return tuple(int(one) for one in shape)


def _is_near(value: Any) -> bool:
    """Return True if the items are in the memory of this process; to fetch them from a device waits for it."""
    return "cpu" in str(getattr(value, "device", "cpu")).lower()


def _items_of(value: Any, base: Any, shape: tuple[int, ...]) -> list[Any] | None:
    if not shape:
        found = base.item(value)
        # Times of numpy, which `item` makes integers of, and numbers that Python has no type for.
        if getattr(value, "dtype", None) is not None and value.dtype.kind in "mMc":
            return [str(value)]
        return [float(value) if type(found) is type(value) else found]
    listed = next((getattr(base, name) for name in _LISTED if hasattr(base, name)), None)
    if listed is not None:
        return [listed(value)]
    if _root_of(base) == "pandas":
        return [base.to_dict(value, "list")]
    return [base.to_dict(value, as_series=False)] if _root_of(base) == "polars" else None
