"""
The options of `moa run`, and what is to be run.

Options come before the program; everything after its name is the program's own. This module must not know
what an option does.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple, NoReturn

__all__ = ["USAGE", "USAGE_CODE", "ProgramOptions", "read_options", "refuse"]

USAGE = """\
Usage: moa run [OPTIONS] SCRIPT [ARGS]...
       moa run [OPTIONS] -m MODULE [ARGS]...

Run a Python program with what MOA_INSTRUMENT names instrumented, and write its traces.

Options:
  --turn              Record the whole program as one turn.
  --instrument A,B    Targets, in place of MOA_INSTRUMENT: openai, anthropic,
                      pkg.mod:Class.method=turn, __main__:main=turn.
  --trace-dir DIR     Directory of the traces, in place of MOA_TRACE_DIR.
  --session ID        Session of turns that name none, in place of MOA_SESSION_ID.
  -h, --help          Show this text.

MOA_SAVE_TRACES=0 writes no traces. "python -m moa_middleware run" is the same command.
Python's own options go before -m.
"""

USAGE_CODE = 2
"""Exit code of a command line that cannot be used."""


class ProgramOptions(NamedTuple):
    """
    What was asked for on the command line.

    Attributes:
        name: The script, the directory or archive, or the module.
        args: The program's own arguments.
        is_module: True if `name` is a module.
        is_turn: True if the whole program is one turn.
        targets: Targets to instrument, `None` for those of the environment.
        trace_dir: Directory of the traces, `None` for that of the environment.
        session_id: Session of turns that name none, `None` for that of the environment.
    """

    name: str
    args: list[str]
    is_module: bool = False
    is_turn: bool = False
    targets: str | None = None
    trace_dir: str | None = None
    session_id: str | None = None


_VALUES = {"--instrument": "targets", "--trace-dir": "trace_dir", "--session": "session_id"}
"""Options with a value, and their attributes."""


def read_options(args: list[str]) -> ProgramOptions:
    """
    Return what the arguments after the word `run` ask for.

    Raises:
        SystemExit: They ask for help, or cannot be used.
    """
    given = ProgramOptions("", [])
    rest = list(args)
    while rest:
        first = rest.pop(0)
        name, equals, value = first.partition("=")
        if name in _VALUES:
            if not equals:
                value = rest.pop(0) if rest else ""
            if not value.strip():
                refuse(f"{name} needs a value")
            if name == "--instrument" and given.targets is not None:
                value = f"{given.targets},{value}"
            changed: dict[str, Any] = {_VALUES[name]: value}
            given = given._replace(**changed)
        elif first == "--turn":
            given = given._replace(is_turn=True)
        elif first in ("-h", "--help"):
            sys.stdout.write(USAGE)
            raise SystemExit(0)
        elif first == "--" and rest:
            return given._replace(name=rest[0], args=rest[1:])
        elif first.startswith("-m"):
            module = first[2:] or (rest.pop(0) if rest else "")
            if not module:
                refuse("-m needs the name of a module")
            return given._replace(name=module, args=rest, is_module=True)
        elif first in ("-", "-c"):
            refuse(f"{first} cannot be run again by child processes: put the program into a file")
        elif first.startswith("-"):
            refuse(f"unknown option {first}; Python's own go before -m: python {first} -m moa_middleware run …")
        else:
            return given._replace(name=first, args=rest)
    return refuse("there is nothing to run")


def refuse(problem: str) -> NoReturn:
    """
    Say what is wrong with a command line, and exit.

    Raises:
        SystemExit: Always.
    """
    sys.stderr.write(f"{USAGE}\nmoa run: {problem}\n")
    raise SystemExit(USAGE_CODE)
