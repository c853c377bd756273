"""One target that a stack was asked for: wrapped now, or by a hook when its module is imported."""

from __future__ import annotations

import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..calls.function import Mark
from ..log import log
from . import classes, held, objects, paths
from .function_proxy import Instrumented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..calls.function import Options
    from ..turns.stack_like import StackLike
    from .target import Target

__all__ = ["PendingTarget"]


class PendingTarget:
    """One target that a stack was asked for, until it is undone."""

    __slots__ = (
        "__weakref__",
        "default",
        "is_spelt_out",
        "is_wrapped",
        "mark",
        "report",
        "rest",
        "root",
        "stack",
        "target",
    )

    def __init__(self, target: Target, stack: StackLike, default: Options, *, report: bool, is_spelt_out: bool) -> None:
        self.target = target
        self.stack = stack
        self.default = default
        self.report = report
        """True if to log a path that leads nowhere."""
        self.is_spelt_out = is_spelt_out
        """If true, warn at exit when the module was never imported: likely a typo."""
        self.mark = Mark()
        """Learns of the first call."""
        self.is_wrapped = False
        self.root: Callable[[], Any] = lambda: None
        """The class or module that was instrumented."""
        self.rest = target.path
        """The path from there."""

    def start(self, *, strict: bool) -> None:
        """
        Wrap the target now or when its module is imported.

        Raises:
            TargetError: The module is there and the path leads nowhere, if `strict`.
        """
        module = sys.modules.get(self.target.module)
        if module is not None and strict:
            self._wrap(module)
            return
        # For a module that is there wrapt runs the hook at once, and the hook logs instead of raising.
        # Weakly: a hook cannot be taken back, but a target that was undone must go.
        pending = weakref.ref(self)

        def when_imported(module: Any) -> None:
            found = pending()
            if found is not None:
                found._wrap_or_log(module)

        wrapt.register_post_import_hook(when_imported, self.target.module)

    def check(self) -> None:
        """
        Follow the path, if the module is there.

        Raises:
            TargetError: The path leads nowhere.
        """
        module = sys.modules.get(self.target.module)
        if module is not None:
            root, rest = self._resolve(module)
            if not paths.is_later(root, rest):
                owner, name = paths.walk(root, rest)
                self._check_parameters(getattr(owner, name))

    def _check_parameters(self, fn: Any) -> None:
        """
        Check that a function has the parameters that the target's options name.

        Raises:
            TargetError: It has not.
        """
        if not self.is_spelt_out:
            return  # targets that are offered fit several versions of a package
        try:
            parameters = inspect.signature(getattr(fn, "__func__", fn)).parameters
        except (TypeError, ValueError):
            return  # of a C function, for example; the call shows which arguments there are
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return
        for option, name in self.target.parameters():
            if name not in parameters:
                known = ", ".join(parameters) or "none"
                msg = f"{self.target.name}: {option}={name}, but its parameters are: {known}"
                raise TargetError(msg)

    def _resolve(self, module: Any) -> tuple[Any, str]:
        """Return the innermost class of the path, or the module, and the path from there."""
        root, rest = module, self.target.path
        while "." in rest:
            name, _, tail = rest.partition(".")
            found = getattr(root, name, None)
            if not isinstance(found, type):
                break
            root, rest = found, tail
        return root, rest

    def _wrap(self, module: Any) -> None:
        root, rest = self._resolve(module)
        options = self.target.options_over(self.default)._replace(mark=self.mark, alone=not self.is_spelt_out)
        if not paths.is_later(root, rest):
            owner, name = paths.walk(root, rest)
            self._check_parameters(getattr(owner, name))
        objects.instrument(root, self.stack, [(rest, options)], self.default)
        self.root, self.rest = weakref.ref(root), rest
        self.is_wrapped = True

    @property
    def is_imported(self) -> bool:
        """Return True if its module is there."""
        return self.target.module in sys.modules

    @property
    def is_called(self) -> bool:
        """Return True if a call of it was recorded, or went through middleware."""
        root = self.root()
        if self.mark.called or root is None or paths.is_later(root, self.rest):
            return self.mark.called
        # Two targets may mean one function, that of a base class: its first call knows one of them.
        try:
            owner, name = paths.walk(root, self.rest)
        except Exception:
            return True  # somebody has changed it meanwhile, so it is not known
        fn: Any = inspect.getattr_static(owner, name, None)
        while type(fn) is Instrumented:
            if fn._self_stack is self.stack and fn._self_kind == self.target.kind:
                return fn._self_patch is None or bool(fn._self_patch.cache)
            fn = fn.__wrapped__
        return True  # a wrapper of somebody else's around ours, which is not looked through

    def _wrap_or_log(self, module: Any) -> None:
        """Wrap the target while the program imports its module: the import must not fail because of it."""
        name = self.target.name
        try:
            self._wrap(module)
            if self.is_spelt_out:
                held.search()
        except TargetError as error:
            if self.report and not self.target.optional:
                log("moa.target_missing", key=name, target=name, error=str(error))
        except Exception as error:
            log("moa.target_failed", key=name, target=name, error=type(error).__qualname__)

    def undo(self, among: Iterable[PendingTarget]) -> None:
        """Put back what was wrapped, unless one of the other targets needs it."""
        root = self.root()
        if root is not None:
            # Two names may hold the same function, `hermes` and a target that spells it out: one layer,
            # which stays until both are undone.
            others = {
                (other.rest, other.target.kind) for other in among if other.stack is self.stack and other.root() is root
            }
            classes.forget_path(root, self.rest, self.target.kind, self.stack, keep=others)
