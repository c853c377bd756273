"""
Known SDKs: their resource classes are patched, and act for instrumented clients only, or for all.

Resources are imported when they are first used (697 modules and 0.8 s for all of openai's), so a
class is patched when its module is there: now, or by a post-import hook. A client's `copy` is
patched too: what it returns is instrumented as the client that it was made from.
"""

from __future__ import annotations

import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from ._log import log
from ._patch import Identities, Patch, known_patch, patch_for, patches_of, remember
from ._paths import Done, undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._options import Options
    from ._wrap import Engine

__all__ = ["SDKS", "forget_client", "forget_sdk", "instrument_client", "instrument_sdk", "sdk_of"]


class _Resource(NamedTuple):
    """What a client offers under one path, in a sync and an async class."""

    module: str
    classes: tuple[str, ...]
    path: str
    methods: tuple[str, ...]


def _resources(*rows: tuple[str, str, str, str]) -> tuple[_Resource, ...]:
    return tuple(_Resource(m, (cls, f"Async{cls}"), path, tuple(methods.split())) for m, cls, path, methods in rows)


_CLIENTS = {
    "openai": _resources(
        ("openai.resources.chat.completions.completions", "Completions", "chat.completions", "create parse stream"),
        ("openai.resources.responses.responses", "Responses", "responses", "create parse stream"),
        ("openai.resources.beta.responses.responses", "Responses", "beta.responses", "create parse stream"),
        ("openai.resources.beta.chat.completions", "Completions", "beta.chat.completions", "create parse stream"),
        ("openai.resources.completions", "Completions", "completions", "create"),
    ),
    "anthropic": _resources(
        ("anthropic.resources.messages.messages", "Messages", "messages", "create parse stream"),
        ("anthropic.resources.beta.messages.messages", "Messages", "beta.messages", "create parse stream"),
    ),
    "together": _resources(
        ("together.resources.chat.completions", "CompletionsResource", "chat.completions", "create"),
        ("together.resources.chat.completions", "ChatCompletions", "chat.completions", "create"),
        ("together.resources.completions", "CompletionsResource", "completions", "create"),
    ),
    "groq": _resources(("groq.resources.chat.completions", "Completions", "chat.completions", "create")),
}
"""Resources of the SDKs whose clients are objects. A class that a version lacks is passed over."""
_FUNCTIONS = {"litellm": ("completion", "acompletion")}
"""Functions of those that are modules."""
SDKS = frozenset(_CLIENTS) | frozenset(_FUNCTIONS)
"""Names of the SDKs that are known."""
_COPIES = ("copy", "with_options")

_clients: dict[int, Identities] = {}
"""Instrumented clients, by the identity of their stack; a hook may fire after `uninstrument`."""
_origins = Identities()
"""The client that a copy goes back to, weakly."""
_everywhere: dict[tuple[int, str], Options] = {}
"""SDKs that are instrumented for every client, by stack and name."""


def sdk_of(obj: object) -> str | None:
    """Return the name of the SDK whose client, or class of clients, this is; `None` for anything else."""
    kind = obj if isinstance(obj, type) else type(obj)
    for cls in kind.__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _CLIENTS and hasattr(kind, "with_options"):
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
    _forget_bound(client, client, 0)
    reference = weakref.ref(client)

    def asked() -> tuple[Any, Options | None]:
        target = reference()
        known = _clients.get(id(engine))
        return target, known.get(target) if known is not None and target is not None else None

    for resource in _CLIENTS[sdk]:
        _when_imported(resource.module, _patcher(resource, engine, asked))
    for name in _COPIES:
        owner = next(c for c in type(client).__mro__ if name in vars(c))
        patch = known_patch(owner, name, engine, "copy")
        if patch is None:
            patch = _CopyPatch(owner, name, engine, "copy")
            remember(patch)
        patch.allow(client, options)


_BOUND = ("with_raw_response", "with_streaming_response")
_DEEPEST = 4
"""Of `client.beta.chat.completions` and the like."""


def _forget_bound(obj: Any, client: Any, depth: int) -> None:
    """
    Let a client that was used already make its raw forms anew.

    They are properties that the SDK caches, and hold the methods as they were when first asked for.
    """
    values = vars(obj)
    for name in _BOUND:
        values.pop(name, None)
    if depth < _DEEPEST:
        for value in list(values.values()):
            if getattr(value, "__dict__", {}).get("_client") is client:
                _forget_bound(value, client, depth + 1)


def instrument_sdk(name: str, engine: Engine, options: Options) -> None:
    """
    Let an SDK's classes, or functions, act for everyone: for each client that there is or will be.

    Args:
        name: One of `SDKS`; nothing is imported for it.
        engine: The stack.
        options: Of its calls.
    """
    _everywhere.setdefault((id(engine), name), options)

    def asked() -> Options | None:
        return _everywhere.get((id(engine), name))

    for resource in _CLIENTS.get(name, ()):
        _when_imported(resource.module, _patcher(resource, engine, lambda: (None, asked())))

    def patch_functions(module: Any) -> None:
        said = asked()
        for function in _FUNCTIONS[name] if said is not None else ():
            patch_for(module, function, engine, kind=options.kind, path=function).allow(module, options)

    if name in _FUNCTIONS:
        _when_imported(name, patch_functions)


def forget_sdk(name: str | None, engine: Engine) -> None:
    """Let an SDK act for nobody but the clients that were named themselves; for every SDK if it is `None`."""
    for key in [key for key in _everywhere if key[0] == id(engine) and name in (None, key[1])]:
        del _everywhere[key]
        for resource in _CLIENTS.get(key[1], ()):
            for owner, method in _methods(resource, sys.modules.get(resource.module)):
                patch = known_patch(owner, method, engine, "call")
                if patch is not None:
                    patch.revoke(owner)
        module = sys.modules.get(key[1])
        for function in _FUNCTIONS.get(key[1], ()) if module is not None else ():
            patch = known_patch(module, function, engine, "call")
            if patch is not None:
                patch.revoke(module)


def _methods(resource: _Resource, module: Any) -> list[tuple[Any, str]]:
    """Return the classes of a resource with their methods, as far as this version has them."""
    owners = [getattr(module, cls, None) for cls in resource.classes]
    return [(owner, name) for owner in owners if owner is not None for name in resource.methods if name in vars(owner)]


def _patcher(
    resource: _Resource, engine: Engine, asked: Callable[[], tuple[Any, Options | None]]
) -> Callable[[Any], None]:
    """Return what patches a resource's classes, if they are still asked for then."""

    def patch(module: Any) -> None:
        target, options = asked()
        if options is None:
            return
        for owner, name in _methods(resource, module):
            path = f"{resource.path}.{name}"
            made = patch_for(owner, name, engine, kind=options.kind, path=path, via=_client_of)
            made.allow(owner if target is None else target, options)

    return patch


def _when_imported(name: str, patch: Callable[[Any], None]) -> None:
    """Patch a module that is there, or that will be; a fault of ours is nobody's import error."""

    def guarded(module: Any) -> None:
        try:
            patch(module)
        except Exception as error:
            log("moa.target_missing", key=name, target=name, error=type(error).__qualname__)

    loaded = sys.modules.get(name)
    if loaded is not None and not getattr(getattr(loaded, "__spec__", None), "_initializing", False):
        guarded(loaded)
    else:
        wrapt.register_post_import_hook(guarded, name)


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
                # Of the client that was instrumented: a copy between may be gone by then.
                origin = _origins.get(instance)
                root = (origin() if origin is not None else None) or instance
                _origins.add(copy, weakref.ref(root))
                Done(root, self.engine, copy, take_back=partial(forget_client, engine=self.engine))
            return copy

        return wrapt.FunctionWrapper(original, wrapper)


def forget_client(client: Any, engine: Engine) -> None:
    """Let nothing act for this client any more, nor for its copies; for any client if it is `None`."""
    clients = _clients.get(id(engine))
    if client is None:
        _clients.pop(id(engine), None)
        return
    if clients is not None:
        clients.discard(client)
    for patch in patches_of(engine):
        if patch.some.get(client) is not None:
            patch.revoke(client)
    undo(client, engine)
