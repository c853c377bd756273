"""
Clients of known SDKs: their resource classes are patched, and act for instrumented clients only.

Resources are imported when they are first used (697 modules and 0.8 s for all of openai's), so a
class is patched when its module is there: now, or by a post-import hook. A client's `copy` is
patched too: what it returns is instrumented as the client that it was made from.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

import wrapt

from ._patch import Identities, Patch, known_patch, patch_for, remember

if TYPE_CHECKING:
    from ._options import Options
    from ._wrap import Engine

__all__ = ["forget_client", "instrument_client", "sdk_of"]

_CLASSES = {
    "openai": (
        ("openai.resources.chat.completions.completions", "Completions"),
        ("openai.resources.chat.completions.completions", "AsyncCompletions"),
    )
}
_METHODS = ("create", "parse")
_COPIES = ("copy", "with_options")

_clients: dict[int, Identities] = {}
"""Instrumented clients, by the identity of their stack; a hook may fire after `uninstrument`."""


def sdk_of(obj: object) -> str | None:
    """Return the name of the SDK whose client this is, `None` for anything else."""
    for cls in type(obj).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _CLASSES and hasattr(type(obj), "with_options"):
            return root
    return None


def _client_of(resource: Any) -> Any:
    return getattr(resource, "_client", None)


def instrument_client(client: Any, engine: Engine, options: Options) -> None:
    """Let the SDK's classes act for this client."""
    sdk = sdk_of(client)
    assert sdk is not None  # noqa: S101 - the caller asked
    clients = _clients.setdefault(id(engine), Identities())
    if clients.get(client) is not None:
        return
    clients.add(client, options)
    for module, cls in _CLASSES[sdk]:
        _when_imported(module, cls, engine, weakref.ref(client))
    for name in _COPIES:
        owner = next(c for c in type(client).__mro__ if name in vars(c))
        patch = known_patch(owner, name, engine, "copy")
        if patch is None:
            patch = _CopyPatch(owner, name, engine, "copy")
            remember(patch)
        patch.allow(client, options)


def _when_imported(module: str, cls: str, engine: Engine, client: weakref.ref[Any]) -> None:
    def patch(loaded: Any) -> None:
        target = client()
        clients = _clients.get(id(engine))
        options = clients.get(target) if clients is not None and target is not None else None
        owner = getattr(loaded, cls, None)
        if options is None or owner is None:
            return
        for name in _METHODS:
            if hasattr(owner, name):
                patch_for(
                    owner, name, engine, kind=options.kind, path=f"chat.completions.{name}", via=_client_of
                ).allow(target, options)

    loaded = sys.modules.get(module)
    if loaded is not None:
        patch(loaded)
    else:
        wrapt.register_post_import_hook(patch, module)


class _CopyPatch(Patch):
    """A client's `copy`, whose result is instrumented as the client itself is."""

    __slots__ = ()

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that instruments what comes back."""

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            copy = wrapped(*args, **kwargs)
            options = self.some.get(instance)
            if options is not None and sdk_of(copy) is not None:
                instrument_client(copy, self.engine, options)
            return copy

        return wrapt.FunctionWrapper(original, wrapper)


def forget_client(client: Any, engine: Engine) -> None:
    """Let nothing act for this client any more, for any client if it is `None`."""
    clients = _clients.get(id(engine))
    if clients is None:
        return
    if client is None:
        del _clients[id(engine)]
    else:
        clients.discard(client)
