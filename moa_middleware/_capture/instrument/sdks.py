"""
Known SDKs: their resource classes are patched, and act for instrumented clients only, or for all.

Resources are imported when they are first used (697 modules and 0.8 s for all of openai's), so a
class is patched when its module is there: now, or by a post-import hook. A client's `copy` is
patched too: the copy is instrumented like the client that it was made from.
"""

from __future__ import annotations

import os
import sys
import weakref
from functools import partial
from importlib.util import find_spec
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

import wrapt

from ..log import log
from ..shapes.catalog import CATALOG, method_of, sdk_of_module
from .call_patch import CallPatch
from .function_proxy import BoundInstrumented, layer_of
from .patch import Identities, Patch, Undo, apply_patch, known_patch, lock, patches_of, undo
from .posts import forget_posts, unwatch_posts, watch_posts

if TYPE_CHECKING:
    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = [
    "instrument_client",
    "instrument_sdk",
    "instrumented_paths",
    "is_instrumented",
    "known_paths",
    "sdk_of",
    "uninstrument_client",
    "uninstrument_sdk",
    "was_called",
]


class _Wanted:
    """What a stack has instrumented: single clients, and whole SDKs."""

    def __init__(self, stack: StackLike) -> None:
        self.stack = weakref.ref(stack)
        self.clients = Identities()
        self.everywhere: dict[str, Options] = {}
        self.hooked: set[str] = set()
        """Modules with an import hook. One hook each, since it cannot be taken back, however many clients come and go."""

    def revoke(self, client: Any) -> None:
        """Let nothing act any more for a client."""
        stack = self.stack()
        if stack is not None:
            uninstrument_client(client, stack)


_wanted: weakref.WeakKeyDictionary[StackLike, _Wanted] = weakref.WeakKeyDictionary()
_origins = Identities()
"""The first client in a chain of copies, as a weak reference."""


def sdk_of(obj: object) -> str | None:
    """Return the name of the SDK if this is one of its clients or their class, else `None`."""
    kind = cast("type", obj) if issubclass(type(obj), type) else type(obj)
    for cls in kind.__mro__:
        name = sdk_of_module(cls.__module__)
        if name and (cls.__name__ in CATALOG[name].clients or (CATALOG[name].copies and hasattr(kind, "with_options"))):
            return name
    return None


def instrument_client(client: Any, stack: StackLike, options: Options, *, root: Any = None) -> None:
    """
    Let the SDK's classes act for this client.

    Args:
        client: The client.
        stack: The stack.
        options: Of its calls.
        root: Another object whose `uninstrument` undoes it too.
    """
    sdk, wanted = sdk_of(client), _wanted.setdefault(stack, _Wanted(stack))
    if root is not None:
        Undo(root, stack, client, wanted)
    if sdk is None or wanted.clients.get(client) is not None:
        return
    # Before the patches: a hook that runs in another thread from here on finds the client.
    wanted.clients.add(client, options)
    if CATALOG[sdk].copies:
        _forget_bound(client, client, 0)
    _act(stack, sdk, client, options)
    watch_posts(stack, options, client)
    for name in {name for row in CATALOG[sdk].methods if not row.path for name in row.names}:
        _bind_again(client, vars(client).get(name), name, 0)
    for name in CATALOG[sdk].copies:
        owner = next(c for c in type(client).__mro__ if name in vars(c))
        apply_patch(_CopyPatch, owner, name, stack, "copy", target=client, options=options)


_BOUND = ("with_raw_response", "with_streaming_response")
_DEEPEST = 4
"""Depth of `client.beta.chat.completions`, the deepest resource."""


def _forget_bound(obj: Any, client: Any, depth: int) -> None:
    """
    Let a client that was used before make its raw forms again.

    They are cached properties of the SDK, and hold the methods as they were at the first access.
    """
    values = vars(obj)
    for name in _BOUND:
        values.pop(name, None)
    if depth < _DEEPEST:
        for value in list(values.values()):
            if getattr(value, "__dict__", {}).get("_client") is client:
                _forget_bound(value, client, depth + 1)


def _bind_again(client: Any, fn: Any, name: str, depth: int) -> None:
    """
    Let a client that checks its arguments in functions of its own call the method as its class has it now.

    Cohere's clients put such functions around `chat` when they are made. They hold the bound method of that
    time in a closure, past any later patch of the class.
    """
    for cell in getattr(fn, "__closure__", None) or ():
        try:
            held = cell.cell_contents
        except ValueError:  # empty
            continue
        if getattr(held, "__self__", None) is client and getattr(held, "__name__", "") == name:
            cell.cell_contents = getattr(type(client), name).__get__(client)
        elif depth < _DEEPEST:
            _bind_again(client, held, name, depth + 1)


def instrument_sdk(name: str, stack: StackLike, options: Options) -> None:
    """
    Let an SDK's classes, or functions, act for everyone: for each client that there is or will be.

    Args:
        name: One of `shapes.catalog.SDKS`; nothing is imported for it.
        stack: The stack.
        options: Of the SDK's calls.
    """
    with lock:
        everywhere = _wanted.setdefault(stack, _Wanted(stack)).everywhere
        _act(stack, name, None, everywhere.setdefault(name, options))
    if name == "openai":
        watch_posts(stack, options)


def _act(stack: StackLike, sdk: str, target: Any, options: Options) -> None:
    """Patch an SDK's modules, now or when they are imported, for a client, or for everyone if it is `None`."""
    hooked = _wanted[stack].hooked
    for name in _modules(sdk):
        loaded = sys.modules.get(name)
        # A module that is being imported is in `sys.modules` and half empty: its hook patches it later.
        if loaded is not None and not getattr(getattr(loaded, "__spec__", None), "_initializing", False):
            _patch_module(stack, sdk, loaded, target, options)
        elif name not in hooked:
            # By a weak reference: an import hook lives as long as the process, a stack need not.
            hooked.add(name)
            wrapt.register_post_import_hook(partial(_when_imported, weakref.ref(stack), sdk), name)


def _modules(sdk: str) -> list[str]:
    """Return the names of the modules that have what is to be patched."""
    row = CATALOG.get(sdk)
    return [sdk] if row is None else [*dict.fromkeys(methods.module for methods in row.methods)]


def _when_imported(reference: weakref.ref[Any], sdk: str, module: Any) -> None:
    """Patch a module for its clients. The program imports it, so a fault of ours is logged, not raised."""
    stack = reference()
    wanted = _wanted.get(stack) if stack is not None else None
    if stack is None or wanted is None:
        return
    wanted.hooked.discard(module.__name__)
    try:
        if sdk in wanted.everywhere:
            _patch_module(stack, sdk, module, None, wanted.everywhere[sdk])
        for client, options in wanted.clients.items():
            if sdk_of(client) == sdk:
                _patch_module(stack, sdk, module, client, options)
    except Exception as error:
        log("moa.target_missing", key=module.__name__, target=module.__name__, error=type(error).__qualname__)


def _patch_module(stack: StackLike, sdk: str, module: Any, target: Any, options: Options) -> None:
    for owner, name, path in _methods(sdk, module):
        if owner is module and _is_bound(vars(owner)[name], stack, options.kind):
            continue
        link = "" if owner is module else CATALOG[sdk].link
        whom = owner if target is None else _shared(target, link)
        of = {"path": path, "link": link, "row": method_of(module.__name__, name)}
        apply_patch(CallPatch, owner, name, stack, options.kind, target=whom, options=options, **of)
    rows = [row for row in CATALOG[sdk].methods if target is None and row.module == module.__name__]
    for factory in {row.factory for row in rows if row.factory}:
        cls, _, name = factory.partition(".")
        owner = getattr(module, cls, None)
        if owner is not None and name in vars(owner):
            apply_patch(_FactoryPatch, owner, name, stack, "factory", target=owner, options=(sdk, module))


def _is_bound(fn: Any, stack: StackLike, kind: str) -> bool:
    """Return True if a function of a module is a method that is instrumented on its class (`ollama.chat`)."""
    layer = layer_of(fn, stack, kind)
    patch = layer._self_parent._self_patch if isinstance(layer, BoundInstrumented) else None
    return patch is not None and not patch.undone


def _shared(client: Any, link: str) -> Any:
    """Return what a client and the objects that have its methods share: by that a call finds its client."""
    # The client itself with most SDKs. Gemini's `Client`, its `aio` and their `models` each hold one and
    # the same `_api_client`, and a client is not found from its `models`.
    return (vars(client).get(link) if link in _SHARED else None) or client


_SHARED = frozenset({"_api_client", "meta"})
"""Attributes in which clients, too, hold what is shared."""


def _methods(sdk: str, module: Any) -> list[tuple[Any, str, str]]:
    """Return owner, name and path of each attribute to be patched in an SDK's module."""
    found: list[tuple[Any, str, str]] = []
    for row in CATALOG[sdk].methods if sdk in CATALOG else ():
        if row.module != module.__name__:
            continue
        if not row.classes:
            found += [(module, name, name) for name in row.names if hasattr(module, name)]
        owners = [getattr(module, name, None) for name in row.classes]
        if row.factory:
            # aiobotocore's classes are derived from botocore's, and have a row of their own.
            made = [cls for base in owners if base is not None for cls in _below(base)]
            owners = [cls for cls in made if cls.__module__ == row.module]
        prefix = f"{row.path}." if row.path else ""
        for owner in filter(None, owners):
            found += [(owner, name, f"{prefix}{name}") for name in row.names if name in vars(owner)]
    return found


def _below(cls: type) -> list[type]:
    """Return the classes that are made of a base, as many as are alive."""
    found: list[type] = cls.__subclasses__()
    for one in tuple(found):
        found += _below(one)
    return found


def is_instrumented(name: str, stack: StackLike) -> bool:
    """Return True if an SDK is instrumented, for everyone or for a client."""
    wanted = _wanted.get(stack)
    if wanted is None:
        return False
    if name in wanted.everywhere or not wanted.hooked.isdisjoint(_modules(name)):
        return True
    modules = [sys.modules[one] for one in _modules(name) if one in sys.modules]
    found = [(owner, method) for module in modules for owner, method, _ in _methods(name, module)]
    return any(known_patch(owner, method, stack, "call") is not None for owner, method in found)


def instrumented_paths(name: str, stack: StackLike, client: Any) -> list[str]:
    """
    Return the dotted paths of an SDK that act, or will when their modules are imported.

    Args:
        name: One of `shapes.catalog.SDKS`.
        stack: The stack.
        client: A client, or a class of clients; `None` for everyone.
    """
    wanted = _wanted.get(stack)
    if wanted is None or not (name in wanted.everywhere or (client is not None and wanted.clients.get(client))):
        return []
    return known_paths(name)


def known_paths(name: str) -> list[str]:
    """Return the dotted paths of the methods and functions of an SDK, as far as it is installed; nothing is imported."""
    found: dict[str, None] = {}
    for row in CATALOG[name].methods:
        if row.module in sys.modules:
            found |= dict.fromkeys(path for _, _, path in _methods(name, sys.modules[row.module]))
        elif _is_there(row.module):
            found |= dict.fromkeys(f"{row.path}.{method}" if row.path else method for method in row.names)
    return [*found]


def _is_there(module: str) -> bool:
    """Return True if a module of an installed package has a file; nothing is imported for it."""
    package, *rest = module.split(".")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or not rest:
        return spec is not None
    folders = spec.submodule_search_locations or ()
    files = (os.path.join(folder, *rest) for folder in folders)  # noqa: PTH118 - no import
    return any(os.path.exists(f"{file}.py") or os.path.isdir(file) for file in files)  # noqa: PTH110, PTH112


def was_called(name: str, stack: StackLike) -> bool:
    """Return True if a call through an SDK was recorded, or went through middleware."""
    for module in [sys.modules[one] for one in _modules(name) if one in sys.modules]:
        for owner, method, _ in _methods(name, module):
            patch: Any = known_patch(owner, method, stack, "call")
            if patch is not None and patch.cache:
                return True
    return False


def uninstrument_sdk(name: str | None, stack: StackLike) -> None:
    """Let an SDK, or every SDK if it is `None`, act only for the clients that were instrumented one by one."""
    if name in (None, "openai"):
        unwatch_posts(stack)
    with lock:
        wanted = _wanted.get(stack)
        if wanted is None:
            return
        for sdk in [sdk for sdk in wanted.everywhere if name in (None, sdk)]:
            del wanted.everywhere[sdk]
            for module in [sys.modules[name] for name in _modules(sdk) if name in sys.modules]:
                for owner, method, _ in _methods(sdk, module):
                    patch = known_patch(owner, method, stack, "call")
                    if patch is not None:
                        patch.revoke(owner)
            for patch in patches_of(stack):
                if isinstance(patch, _FactoryPatch) and patch.global_options[0] == sdk:
                    patch.revoke(patch.owner)


class _FactoryPatch(Patch):
    """What makes the classes of an SDK's clients at run time (boto3): those that have methods of models are patched."""

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that patches the class that is made."""

        def wrapper(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
            made = wrapped(*args, **kwargs)
            return patched_later(made) if isawaitable(made) else patched(made)

        async def patched_later(made: Any) -> Any:
            return patched(await made)

        def patched(made: Any) -> Any:
            sdk, module = self.global_options or ("", None)
            wanted = _wanted.get(self.stack)
            if wanted is not None and sdk in wanted.everywhere:
                try:
                    _patch_module(self.stack, sdk, module, None, wanted.everywhere[sdk])
                except Exception as error:  # the program makes a client: a fault of ours is logged, not raised
                    log("moa.target_missing", key=sdk, target=sdk, error=type(error).__qualname__)
            return made

        return wrapt.FunctionWrapper(original, wrapper)


class _CopyPatch(Patch):
    """A client's `copy`, whose result is instrumented like the client itself."""

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that instruments the copy."""

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            copy = wrapped(*args, **kwargs)
            options = self.targets.get(instance)
            if options is not None and sdk_of(copy) is not None:
                # Undone with the first client of the chain: a copy in between may be gone by then.
                origin = _origins.get(instance)
                root = (origin() if origin is not None else None) or instance
                _origins.add(copy, weakref.ref(root))
                instrument_client(copy, self.stack, options, root=root)
            return copy

        return wrapt.FunctionWrapper(original, wrapper)


def uninstrument_client(client: Any, stack: StackLike) -> None:
    """Let nothing act any more for this client and its copies, or for any client if it is `None`."""
    forget_posts(stack, client)
    wanted = _wanted.setdefault(stack, _Wanted(stack))
    if client is None:
        wanted.clients = Identities()
        return
    wanted.clients.discard(client)
    sdk = sdk_of(client)
    known = {id(one): one for one in (client, _shared(client, CATALOG[sdk].link) if sdk else client)}
    for patch in patches_of(stack):
        for one in known.values():
            if patch.targets.get(one) is not None:
                patch.revoke(one)
    undo(client, stack)
