"""
`moa run`: a program, run as Python would, with what `MOA_INSTRUMENT` names instrumented.

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

from . import children
from .config import default_stack
from .frames import strip_own_frames
from .own_functions import compiled, log_no_source, split, watch_module
from .program_options import USAGE_CODE, read_options
from .program_turn import ProgramTurn

if TYPE_CHECKING:
    from types import TracebackType

    from .program_options import ProgramOptions

__all__ = ["run"]


_replaced: list[ModuleType] = []
"""
The `__main__` of the command `moa`, which must outlive the program.

CPython (`_PyRun_SimpleFileObject`) still uses its namespace after it has shown an exception, without a
reference of its own. An exception that has no frame of the program, as that of a syntax error, keeps
none either, and the process would crash.
"""


def run(args: list[str]) -> None:
    """
    Run a program with its arguments.

    Args:
        args: The arguments after the word `run`.

    Raises:
        SystemExit: The program exits, or there is nothing to run.
        BaseException: What the program does not catch; the interpreter shows it without our frames.
    """
    options = read_options(args)
    program = _Program(options)
    if options.is_module:
        program.run_module()
    else:
        program.run_file()


class _Program:
    """
    One program to be run.

    Args:
        options: What was asked for on the command line.
    """

    def __init__(self, options: ProgramOptions) -> None:
        self.options = options
        named = options.targets if options.targets is not None else os.environ.get("MOA_INSTRUMENT", "")
        self.own, self.targets, is_turn = split(named)
        self.is_turn = is_turn or options.is_turn
        self.turn = ProgramTurn()

    def run_module(self) -> None:
        """Run a module with the function that `python -m` uses."""
        # Private, and still the right one: it is what Python's own `-m` calls. `runpy.run_module` puts
        # `sys.argv` and `__main__` back when the program ends, so functions registered with `atexit` and threads
        # that are left would see ours (`test_a_program_runs_as_without_us`).
        here = _here()
        self._prepare(_main_module(), ["-m", *self.options.args], [here] if here else [])
        self._guarded(self._by_runpy, self.options.name)

    def run_file(self) -> None:
        """Run a script, or the `__main__.py` of a directory or an archive."""
        path, args = self.options.name, self.options.args
        where = _here() if path == os.curdir else os.path.join(_here(), path)  # noqa: PTH118 - as Python does
        if get_importer(where) is not None:
            self._prepare(_main_module(), [path, *args], [])
            sys.path.insert(0, where)  # Python does so with -P too
            self._guarded(self._by_runpy, "__main__", alter_argv=False)
            return
        # A plain file is not for `runpy`: `run_path` empties the module's namespace at the end, in which the
        # program's threads and exit functions still live.
        try:
            with io.open_code(where) as file:
                source = file.read()
        except OSError as error:
            program = sys.orig_argv[0] if sys.orig_argv else sys.executable
            sys.stderr.write(f"{program}: can't open file {where!r}: [Errno {error.errno}] {error.strerror}\n")
            raise SystemExit(USAGE_CODE) from None
        main = _main_module()
        names = vars(main)
        is_bytecode = where.endswith(".pyc")
        loader: Any = SourcelessFileLoader if is_bytecode else SourceFileLoader
        names.update(__loader__=loader("__main__", where), __file__=where, __cached__=None)
        self._prepare(main, [path, *args], [os.path.dirname(os.path.realpath(where))])  # noqa: PTH120 - as Python does

        def program_() -> None:
            if is_bytecode:
                code = names["__loader__"].get_code("__main__")
                log_no_source(self.own)
            elif self.own:
                code = compiled(source, where, self.own, default_stack)
            else:
                code = compile(source, where, "exec", dont_inherit=True)
            exec(code, names)  # noqa: S102 - it is what was asked for
            for name in ("__file__", "__cached__"):
                names.pop(name, None)  # as Python does: what runs at exit sees neither

        self._guarded(program_)

    def _by_runpy(self, name: str, **options: Any) -> None:
        if self.own:
            watch_module(self.own, default_stack)
        runpy._run_module_as_main(name, **options)  # type: ignore[attr-defined]

    def _prepare(self, main: ModuleType, argv: list[str], path: list[str]) -> None:
        """Set up `sys` for the program, and instrument its targets."""
        if not sys.flags.safe_path:
            # The entry of `-m`, or of the command `moa`. Removed before the targets are loaded: what their
            # packages import must not be found among the program's own files.
            del sys.path[0]
        options = self.options
        given: dict[str, Any] = {}
        if options.trace_dir is not None:
            # Written on a command line it means the directory where the command was given, wherever the
            # program goes before its first turn.
            given["trace_dir"] = os.path.join(_here(), os.path.expanduser(options.trace_dir))  # noqa: PTH111, PTH118
        if options.session_id is not None:
            given["session_id"] = options.session_id
        # The journal, since a turn that lasts as long as its process is lost with it otherwise.
        children.begin(self.targets, ",".join(self.own), {"save_traces": True, "journal": self.is_turn}, given)
        if self.is_turn:
            self.turn.open()
        if not sys.flags.safe_path:
            sys.path[:0] = path
        sys.argv[:] = argv
        _replaced.append(sys.modules["__main__"])
        sys.modules["__main__"] = main

    def _guarded(self, program: Any, *args: Any, **kwargs: Any) -> None:
        """Run a program; what it does not catch is shown as if it had run alone."""
        try:
            program(*args, **kwargs)
        except BaseException as error:
            self.turn.ended(error)
            if not isinstance(error, SystemExit):
                _hide_our_frames(error)
            raise


def _here() -> str:
    """Return the working directory, nothing if it is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - what goes into `sys.path` are strings
    except OSError:
        return ""


def _main_module() -> ModuleType:
    """Return an empty `__main__`."""
    main = ModuleType("__main__")
    if "__annotations__" in vars(sys.modules["__main__"]):  # until Python 3.13
        main.__annotations__ = {}
    vars(main)["__builtins__"] = builtins
    return main


def _hide_our_frames(error: BaseException) -> None:
    """
    Let the interpreter, which is about to show an exception, leave out the frames of this package.

    The exception is not shown here, so that the rest stays the interpreter's own: the exit code, also
    that of Ctrl-C, and what happens if the program's own hook fails.
    """
    seen = strip_own_frames(error).__traceback__
    # The traceback cannot be cut here: `raise` adds this module's frames again on the way out. So it is
    # cut at the last moment, in the hook, which then restores and calls the program's own.
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        sys.excepthook = hook
        if value is error:
            trace = sys.last_traceback = seen
            BaseException.with_traceback(value, seen)
        hook(kind, value, trace)

    sys.excepthook = excepthook
