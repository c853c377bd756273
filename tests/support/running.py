"""Programs of a test, run in a process of their own: as Python runs them, and by `moa run`."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

RUN = ("-m", "moa_middleware", "run")


def python(cwd, *args, stdin="", flags=(), **env):
    """Run Python in a directory, and return it when it has ended."""
    return subprocess.run(
        [sys.executable, *flags, *args],
        cwd=cwd,
        # Measured processes would print, and end, otherwise.
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")} | env,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def written(tmp_path, files):
    """Write files, and return their directory."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    return tmp_path


def outcome(done):
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}
