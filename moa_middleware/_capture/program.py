"""
`python -m moa_middleware run`: a program, run as Python would, with what `MOA_INSTRUMENT` names.

It needs neither typer nor rich. The program must not notice: its `__main__`, `sys.argv`, `sys.path`,
streams, exit code and tracebacks are those that `python app.py` would give it. The source for this is
`pymain_run_python` in CPython's `Modules/main.c`, and the standard library's `runpy`.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from pkgutil import get_importer
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from .calls.function import Options
from .config import default_stack
from .instrument import targets as _targets
from .recorder import load_recorder

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["USAGE", "apply", "run"]

USAGE = """\
Usage: moa run SCRIPT [ARGS]...
       moa run -m MODULE [ARGS]...

Run a Python program with what MOA_INSTRUMENT names instrumented, and as without it otherwise.

  MOA_INSTRUMENT   targets, with commas between: openai, anthropic, pkg.mod:Class.method=turn
  MOA_SAVE_TRACES  1 writes the traces
  MOA_TRACE_DIR    where to

"python -m moa_middleware run" is the same. Python's own options go before -m.
"""

_WRONG = 2


def run(args: list[str]) -> None:
    """
    Run a program with its arguments.

    Args:
        args: The arguments after the word `run`.

    Raises:
        SystemExit: The program exits, or there is nothing to run.
        BaseException: What the program does not catch; the interpreter shows it without our frames.
    """
    first, rest = (args[0], args[1:]) if args else ("", [])
    if first in ("-h", "--help"):
        sys.stdout.write(USAGE)
        raise SystemExit(0)
    if first == "--" and rest:
        first, rest = rest[0], rest[1:]
    elif first.startswith("-m"):
        name, rest = (first[2:], rest) if first[2:] else (rest[0] if rest else "", rest[1:])
        if not name:
            _refuse("-m needs the name of a module")
        _run_module(name, rest)
        return
    elif first in ("-", "-c"):
        _refuse(f"{first} cannot be run again by child processes: put the program into a file")
    elif first.startswith("-"):
        _refuse(f"there is no option {first}; Python's own go before -m: python {first} -m moa_middleware run …")
    if not first:
        _refuse("there is nothing to run")
    _run_file(first, rest)


def _refuse(problem: str) -> None:
    sys.stderr.write(f"{USAGE}\nmoa run: {problem}\n")
    raise SystemExit(_WRONG)


def _run_module(name: str, args: list[str]) -> None:
    """Run a module with the function that `python -m` uses."""
    # Private, and still the right one: it is what Python's own `-m` calls. `runpy.run_module` puts
    # `sys.argv` and `__main__` back when the program ends, so functions registered with `atexit` and threads
    # that are left would see ours (`test_a_program_runs_as_without_us`).
    here = _here()
    _prepare(_main_module(), ["-m", *args], [here] if here else [])
    _guarded(runpy._run_module_as_main, name)  # type: ignore[attr-defined]


def _here() -> str:
    """Return the working directory, nothing if it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - what goes into `sys.path` are strings
    except OSError:
        return ""


def _run_file(path: str, args: list[str]) -> None:
    """Run a script, or the `__main__.py` of a directory or an archive."""
    where = _here() if path == os.curdir else os.path.join(_here(), path)  # noqa: PTH118 - as Python does
    if get_importer(where) is not None:
        _prepare(_main_module(), [path, *args], [])
        sys.path.insert(0, where)  # Python does so with -P too
        _guarded(runpy._run_module_as_main, "__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    # A plain file is not for `runpy`: `run_path` empties the module's namespace at the end, in which the
    # program's threads and exit functions still live.
    try:
        with io.open_code(where) as file:
            source = file.read()
    except OSError as error:
        program = sys.orig_argv[0] if sys.orig_argv else sys.executable
        sys.stderr.write(f"{program}: can't open file {where!r}: [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(_WRONG) from None
    main = _main_module()
    names = vars(main)
    compiled = where.endswith(".pyc")
    loader: Any = SourcelessFileLoader if compiled else SourceFileLoader
    names.update(__loader__=loader("__main__", where), __file__=where, __cached__=None)
    _prepare(main, [path, *args], [os.path.dirname(os.path.realpath(where))])  # noqa: PTH120 - as Python does

    def program_() -> None:
        loaded = names["__loader__"].get_code("__main__") if compiled else None
        exec(loaded or compile(source, where, "exec", dont_inherit=True), names)  # noqa: S102 - it is what was asked for
        for name in ("__file__", "__cached__"):
            names.pop(name, None)  # as Python does: what runs at exit sees neither

    _guarded(program_)


def _main_module() -> ModuleType:
    """Return an empty `__main__`."""
    main = ModuleType("__main__")
    if "__annotations__" in vars(sys.modules["__main__"]):  # until Python 3.13
        main.__annotations__ = {}
    vars(main)["__builtins__"] = builtins
    return main


def _prepare(main: ModuleType, argv: list[str], path: list[str]) -> None:
    """Set up `sys` for the program, and instrument its targets."""
    if not sys.flags.safe_path:
        # The entry of `-m`, or of the command `moa`. Removed before the targets are loaded: what their
        # packages import must not be found among the program's own files.
        del sys.path[0]
    targets = os.environ.get("MOA_INSTRUMENT", "")
    if targets.strip():
        apply(targets)
    if not sys.flags.safe_path:
        sys.path[:0] = path
    sys.argv[:] = argv
    sys.modules["__main__"] = main


def _guarded(program: Any, *args: Any, **kwargs: Any) -> None:
    """Run a program; what it does not catch is shown as if it had run alone."""
    try:
        program(*args, **kwargs)
    except BaseException as error:
        if not isinstance(error, SystemExit):
            _hide_our_frames(error)
        raise


def _hide_our_frames(error: BaseException) -> None:
    """
    Let the interpreter, which is about to show an exception, leave out the frames of this module.

    The exception is not shown here, so that the rest stays the interpreter's own: the exit code, also
    that of Ctrl-C, and what happens if the program's own hook fails.
    """
    seen: TracebackType | None = error.__traceback__
    while seen is not None and seen.tb_frame.f_code.co_filename == __file__:
        seen = seen.tb_next
    # The traceback cannot be cut here: `raise` adds this module's frames again on the way out. So it is
    # cut at the last moment, in the hook, which then restores and calls the program's own.
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = hook
        if value is error:
            trace = sys.last_traceback = seen
            value.__traceback__ = seen
        hook(kind, value, trace)

    sys.excepthook = excepthook


class _ChildTargets:
    """
    Targets for a spawned child of `multiprocessing`: they travel in the data that the child unpickles.

    The child may not find this package, so the data is a piece of source code that tries, and passes
    if it cannot.
    """

    def __init__(self, targets: str) -> None:
        self.targets = targets

    def __reduce__(self) -> Any:
        code = f"from {__name__} import apply; apply({self.targets!r}, report=False)"
        return exec, (f"try: {code}\nexcept Exception: pass", {})


def apply(targets: str, *, report: bool = True) -> None:
    """
    Instrument targets, in this process and in the children that `multiprocessing` spawns.

    Args:
        targets: As in `MOA_INSTRUMENT`.
        report: Whether to log what is wrong with them.
    """
    load_recorder()
    _targets.apply(targets, default_stack, Options("call"), report=report)

    # A spawned child starts a new interpreter that knows nothing of `run`. The first thing that it
    # unpickles is the dictionary of `get_preparation_data`, before its `__main__` is imported.
    def when_imported(spawn: Any) -> None:
        asked = spawn.get_preparation_data

        def get_preparation_data(name: str) -> Any:
            return {**asked(name), __name__: _ChildTargets(targets)}

        spawn.get_preparation_data = get_preparation_data

    wrapt.register_post_import_hook(when_imported, "multiprocessing.spawn")
