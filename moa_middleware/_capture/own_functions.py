"""
Targets among the functions and classes of the program itself: `__main__:main=turn`.

A script usually calls its functions in the same file that defines them, so they have to be wrapped as they
are defined, and not when the module is complete. The script is compiled with one more decorator at each
of them. This module must not know who runs the program.
"""

from __future__ import annotations

import ast
import io
import runpy
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import MoaError, TargetError
from .calls.function import Options
from .frames import hide_own_frames
from .instrument import grammar
from .instrument import targets as registry
from .instrument.pending import PendingTarget
from .log import log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType

    from .instrument.target import Target
    from .stack import Stack

__all__ = ["MAIN", "compiled", "log_no_source", "split", "watch_module"]

MAIN = "__main__"


def split(text: str) -> tuple[list[str], str, bool]:
    """
    Return the entries that name functions of the program, all others, and whether the program is a turn.

    Args:
        text: As in `MOA_INSTRUMENT`.
    """
    own: list[str] = []
    others: list[str] = []
    is_turn = False
    for text_of_entry in grammar.entries_of(text):
        try:
            entry = grammar.read(text_of_entry)
            if entry.name != MAIN:
                others.append(text_of_entry)
            elif entry.path is not None:
                grammar.target_of(entry)
                own.append(text_of_entry)
            elif entry.role != "turn" or entry.options:
                entry.fail(1, f"the whole program can only be a turn: {MAIN}=turn; or name a function of it")
            else:
                is_turn = True
        except TargetError as error:
            log("moa.target_unknown", key=text_of_entry, target=text_of_entry, error=str(error))
    return own, ",".join(others), is_turn


def compiled(
    source: str | bytes, filename: str, entries: Sequence[str], stack: Stack, *, report: bool = True
) -> CodeType:
    """
    Compile a program whose targets are wrapped as it defines them.

    Args:
        source: The program.
        filename: Its name, as tracebacks show it.
        entries: Targets of the module `__main__`.
        stack: The stack that they go through.
        report: Whether to log targets that are missing. A child process does not: its parent has.

    Raises:
        SyntaxError: As `compile` raises it.
        ValueError: Likewise.
    """
    targets = [grammar.target_of(grammar.read(entry)) for entry in entries]
    # Not `ast.parse`: its frame would show in the traceback of a syntax error.
    tree: Any = compile(source, filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    # A decorator has to be an expression, and a name of ours would show in the program's namespace. So the
    # decorator is a constant, a text that no program has, which is replaced in the compiled code by the function.
    # (Only a call of a constant makes the compiler warn, and a decorator is not a call.)
    hooks: dict[Any, Any] = {}
    for target in targets:
        head, _, rest = target.path.partition(".")
        kinds = (ast.ClassDef,) if rest else (ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in _definitions(tree.body) if isinstance(node, kinds) and node.name == head]
        if not found and report:
            what = "class" if rest else "function"
            reason = f"the program defines no {what} {head} at its top level; name what it imports by its own module"
            log("moa.target_missing", key=target.name, target=target.name, error=reason)
        token = f"\0moa_middleware {len(hooks)} {target.name}"
        hooks[token] = partial(_with_class if rest else _with_function, target, stack)
        for node in found:
            decorators = node.decorator_list
            # The first line of a decorated function is that of its first decorator: `inspect.getsource` and
            # tracebacks must not notice one more.
            here = decorators[0] if decorators else node
            hook = ast.Constant(
                token,
                lineno=here.lineno,
                col_offset=here.col_offset,
                end_lineno=here.lineno,
                end_col_offset=here.col_offset,
            )
            # A function is wrapped before its other decorators see it, since these may keep it: a route, a command,
            # a task. A class is instrumented after them, since they may return another class (`dataclass(slots=True)`).
            decorators.insert(0 if rest else len(decorators), hook)
    code: CodeType = compile(tree, filename, "exec", dont_inherit=True)
    if not hooks:
        return code
    return code.replace(co_consts=tuple(hooks.get(one, one) if type(one) is str else one for one in code.co_consts))


def _definitions(body: Sequence[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Yield what a module defines at its top level, inside `if`, `try`, `with` and loops too."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            continue
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, ())
            for one in inner if isinstance(inner, list) else ():
                yield from _definitions(one.body if name in ("handlers", "cases") else [one])


def _with_function(target: Target, stack: Stack, fn: Any) -> Any:
    """Return a function of the program, wrapped: it is defined at this moment, and must be in any case."""
    try:
        default = Options("call")
        pending = PendingTarget(target, stack, default, report=True, is_spelt_out=True)
        pending._check_parameters(fn)
        wrapped = stack._decorate(fn, target.options_over(default)._replace(mark=pending.mark), "moa run")
        wrapped._self_is_named_outside = True
        pending.is_wrapped = True
        # A decorator of the program below this one may have wrapped it: then nothing marks its calls.
        pending.mark.called = wrapped._self_options.mark is not pending.mark
        registry.remember(pending)
        return wrapped
    except Exception as error:
        _log(target, error)
        return fn


def _with_class(target: Target, stack: Stack, cls: Any) -> Any:
    """Instrument a class of the program, and return it."""
    try:
        registry.instrument_class(target, cls, stack, Options("call"))
    except Exception as error:
        _log(target, error)
    return cls


def _log(target: Target, error: Exception) -> None:
    if isinstance(error, MoaError):
        log("moa.target_missing", key=target.name, target=target.name, error=str(error))
    else:
        log("moa.target_failed", key=target.name, target=target.name, error=type(error).__qualname__)


def _source_of(path: str) -> bytes:
    """Return the source of a script, which a child that `multiprocessing` spawns has no loader of."""
    with io.open_code(path) as file:
        return file.read()


def log_no_source(entries: Sequence[str]) -> None:
    """Log that targets of a program cannot be wrapped, since only its bytecode is there."""
    for entry in entries:
        log("moa.target_missing", key=entry, target=entry, error="the program has no source code to wrap it in")


def watch_module(entries: Sequence[str], stack: Stack, *, report: bool = True) -> None:
    """Let the next program that `runpy` runs be compiled by `compiled`; a child runs its parent's in this way too."""
    module: Any = runpy
    run_code = module._run_code

    def run_own_code(code: CodeType, *args: Any, **kwargs: Any) -> Any:
        module._run_code = run_code
        spec = args[3]  # runpy passes all values by position
        source = spec.loader.get_source(spec.name) if spec is not None else _source_of(args[5])
        if source is not None:
            code = compiled(source, code.co_filename, entries, stack, report=report)
        elif report:
            log_no_source(entries)
        try:
            return run_code(code, *args, **kwargs)
        except BaseException as error:
            hide_own_frames(error)
            raise

    module._run_code = run_own_code
