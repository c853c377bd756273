"""
Instrumenting an object that somebody else wrote: an instance, a class or a module; and undoing it.

The module of an SDK is not one of these here: it means what the SDK's name means (`targets`).

This is where it is decided which of these an object is, and what is wrapped if no path is named.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...errors import DecorationError, TargetError
from ..checks import PLACES, check_place
from ..shapes.http_request import HTTP_CLIENTS
from ..shapes.request import why_no_request
from .classes import lock, watch_class
from .patch import patches_of, sweep, undo
from .paths import ITSELF, is_later, name_of, walk, wrap_at
from .sdks import instrument_client, sdk_of, uninstrument_client, uninstrument_sdk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = ["instrument", "uninstrument"]

_KNOWN_PATHS = (
    *("chat.completions.create", "chat.completions.parse", "chat.completions.stream"),
    *("responses.create", "responses.parse", "responses.stream", "messages.create", "messages.stream"),
    *("create", "completion", "acompletion"),
)


def instrument(obj: Any, stack: StackLike, targets: Sequence[tuple[str, Options]], default: Options) -> None:
    """
    Wrap the targets of an object.

    Args:
        obj: The object.
        stack: The stack.
        targets: Paths, each with its options. Without any, the object's own SDK decides, or each
            known path that is there.
        default: Options where no path is named.

    Raises:
        TargetError: A target leads nowhere, or there is none and no known path exists.
    """
    with lock:
        # Objects that are gone may have been the last targets of a patch. Nothing runs when one dies, as a
        # finaliser must take no lock, so what they leave is put back here.
        sweep()
        if not targets:
            # Of the type: what an odd object answers for its class is code of its own.
            is_module = issubclass(type(obj), ModuleType)
            if not is_module and sdk_of(obj) is not None:
                if not issubclass(type(obj), type):
                    instrument_client(obj, stack, default)
                    return
                targets = [(ITSELF, default)]
            else:
                targets = [(path, default) for path in _known_paths(obj, default.messages)]
        now = [(path, options) for path, options in targets if not is_later(obj, path)]
        # All of them are checked before the first is touched.
        found = [(walk(obj, path), options) for path, options in now]
        if found and len(now) == len(targets):
            _check_places([(getattr(owner, name), options) for (owner, name), options in found])
        for path, options in now:
            wrap_at(obj, path, stack, options)
        if issubclass(type(obj), type):
            # Even with nothing to wait for now: a subclass may override what was wrapped.
            watch_class(obj, stack, targets, _wrap_instance)


def _check_places(functions: Sequence[tuple[Any, Options]]) -> None:
    """
    Check the parameters that the options name: one function, at least, has each of them.

    Raises:
        TargetError: No function has one.
    """
    for option in PLACES:
        errors = []
        for fn, options in functions:
            try:
                check_place(fn, option, getattr(options, option), "instrument")
            except DecorationError as error:
                errors.append(error)
        if len(errors) == len(functions):
            raise TargetError(str(errors[0])) from None


def _wrap_instance(instance: Any, path: str, stack: StackLike, options: Options, *, root: Any) -> None:
    """Wrap what a path leads to from an instance of the class `root`; the instance may be an SDK's client."""
    if path != ITSELF:
        wrap_at(instance, path, stack, options, root=root)
        return
    instrument_client(instance, stack, options, root=root)


def _known_paths(obj: Any, request: str | None) -> list[str]:
    """
    Return the known paths that an object has and whose functions take a request.

    Args:
        obj: The object.
        request: Name of the parameter that holds the request, or a dotted path from one, if it was given.

    Raises:
        TargetError: It has none.
    """
    refused: list[str] = []
    found = [path for path in _KNOWN_PATHS if _has_path(obj, path, request, refused)]
    if not found:
        why = "".join(f"; {one}" for one in refused)
        kind = obj if issubclass(type(obj), type) else type(obj)
        package = kind.__module__.partition(".")[0]
        if package in HTTP_CLIENTS:
            msg = f'{name_of(obj)} is of an HTTP client, which is instrumented as a whole: instrument("{package}")'
            raise TargetError(msg)
        msg = (
            f"{name_of(obj)} has none of the known paths ({', '.join(_KNOWN_PATHS)}){why}; "
            'name yours: instrument(obj, turn="…", reference="…", aggregator="…", call="…")'
        )
        raise TargetError(msg)
    return found


def _has_path(obj: Any, path: str, request: str | None, refused: list[str]) -> bool:
    """
    Return True if a path leads to a function that takes a request, or on a class to an attribute that its instances fill.

    Why a function is refused is added to `refused`.
    """
    if is_later(obj, path):
        return hasattr(obj, path.partition(".")[0])
    try:
        owner, name = walk(obj, path)
    except TargetError:
        return False
    why = why_no_request(getattr(owner, name), request, is_method=issubclass(type(owner), type))
    if why is not None:
        refused.append(f"{path} {why}")
    return why is None


def uninstrument(obj: Any, stack: StackLike) -> None:
    """Undo what `instrument` did to an object, or for every object of this stack if it is `None`."""
    with lock:
        # What is on record first, then what has no record: SDKs for everyone, and patches whose targets are
        # gone.
        undo(obj, stack)
        uninstrument_client(obj, stack)
        if obj is None:
            uninstrument_sdk(None, stack)
            for patch in patches_of(stack):
                patch.undo()
        sweep()
