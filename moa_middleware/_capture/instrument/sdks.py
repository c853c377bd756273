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

from ..log import log
from .patch import Identities, Patch, known_patch, locked, patch_for, patches_of, remember
from .paths import Done, undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..calls.entry import Engine
    from ..calls.function import Options

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


class _Wanted:
    """What one stack wants of the SDKs: for single clients, and for everyone."""

    __slots__ = ("clients", "everywhere", "hooked")

    def __init__(self) -> None:
        self.clients = Identities()
        self.everywhere: dict[str, Options] = {}
        self.hooked: set[str] = set()
        """Modules whose import is waited for: once, however many clients come and go."""


_wanted: weakref.WeakKeyDictionary[Engine, _Wanted] = weakref.WeakKeyDictionary()
_origins = Identities()
"""The client that a copy goes back to, weakly."""


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
    clients = _wanted.setdefault(engine, _Wanted()).clients
    if clients.get(client) is not None:
        return
    clients.add(client, options)
    _forget_bound(client, client, 0)
    _act(engine, sdk, client, options)
    for name in _COPIES:
        owner = next(c for c in type(client).__mro__ if name in vars(c))
        with locked():
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
    with locked():
        everywhere = _wanted.setdefault(engine, _Wanted()).everywhere
        _act(engine, name, None, everywhere.setdefault(name, options))


def _act(engine: Engine, sdk: str, target: Any, options: Options) -> None:
    """Patch the modules of an SDK that are there for a client, for everyone if it is `None`; wait for the others."""
    hooked = _wanted[engine].hooked
    modules = [resource.module for resource in _CLIENTS.get(sdk, ())] or [sdk]
    for name in dict.fromkeys(modules):
        loaded = sys.modules.get(name)
        if loaded is not None and not getattr(getattr(loaded, "__spec__", None), "_initializing", False):
            _patch_module(engine, sdk, loaded, target, options)
        elif name not in hooked:
            hooked.add(name)
            wrapt.register_post_import_hook(_hook(weakref.ref(engine), sdk), name)


def _hook(stack: weakref.ref[Any], sdk: str) -> Callable[[Any], None]:
    def imported(module: Any) -> None:
        """Patch a module for all who want it; a fault of ours is nobody's import error."""
        engine = stack()
        if engine is None:
            return
        wanted = _wanted.get(engine)
        if wanted is None:
            return
        wanted.hooked.discard(module.__name__)
        try:
            if sdk in wanted.everywhere:
                _patch_module(engine, sdk, module, None, wanted.everywhere[sdk])
            for client, options in wanted.clients.items():
                if sdk_of(client) == sdk:
                    _patch_module(engine, sdk, module, client, options)
        except Exception as error:
            log("moa.target_missing", key=module.__name__, target=module.__name__, error=type(error).__qualname__)

    return imported


def _patch_module(engine: Engine, sdk: str, module: Any, target: Any, options: Options) -> None:
    for owner, name, path in _methods(sdk, module):
        via = None if owner is module else _client_of
        with locked():
            made = patch_for(owner, name, engine, kind=options.kind, path=path, via=via)
            made.allow(owner if target is None else target, options)


def _methods(sdk: str, module: Any) -> list[tuple[Any, str, str]]:
    """Return what an SDK's module has to be patched: owner, name and path, as far as this version has it."""
    found = [(module, name, name) for name in _FUNCTIONS.get(sdk, ()) if hasattr(module, name)]
    for resource in _CLIENTS.get(sdk, ()):
        for cls in resource.classes if resource.module == module.__name__ else ():
            owner = getattr(module, cls, None)
            names = [name for name in resource.methods if owner is not None and name in vars(owner)]
            found += [(owner, name, f"{resource.path}.{name}") for name in names]
    return found


def forget_sdk(name: str | None, engine: Engine) -> None:
    """Let an SDK act for nobody but the clients that were named themselves; for every SDK if it is `None`."""
    with locked():
        wanted = _wanted.get(engine)
        if wanted is None:
            return
        for sdk in [sdk for sdk in wanted.everywhere if name in (None, sdk)]:
            del wanted.everywhere[sdk]
            modules = [resource.module for resource in _CLIENTS.get(sdk, ())] or [sdk]
            for module in [sys.modules[name] for name in dict.fromkeys(modules) if name in sys.modules]:
                for owner, method, _ in _methods(sdk, module):
                    patch = known_patch(owner, method, engine, "call")
                    if patch is not None:
                        patch.revoke(owner)


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
    wanted = _wanted.get(engine)
    if client is None:
        if wanted is not None:
            wanted.clients = Identities()
        return
    if wanted is not None:
        wanted.clients.discard(client)
    for patch in patches_of(engine):
        if patch.some.get(client) is not None:
            patch.revoke(client)
    undo(client, engine)
