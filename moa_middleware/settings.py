"""
The settings, read from the environment under the prefix `MOA_`.

Importing this module imports pydantic; the live path does so only when traces are on. There is no
`.env`: a library must not read a file that its host did not ask for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Settings", "describe_problem", "withheld"]

# Announced, not working yet: tracing without them could write what must not be written.
_PROTECTIVE = {"MOA_REDACT": (), "MOA_CAPTURE": ("full",)}


def _default_trace_dir() -> Path:
    return platformdirs.user_state_path("moa_middleware") / "traces"


class Settings(BaseSettings):
    """
    What can be set.

    Attributes:
        save_traces: Write traces.
        trace_dir: Directory of the traces; `~` and `$VAR` are expanded.
        session_id: Session of turns that name none themselves.
        turns: `all`, or `fanout` for those only that ran references.
        propagate_threads: Carry the turn into bare threads and executors.
        instrument: What `moa run` instruments, with commas between.
    """

    model_config = SettingsConfigDict(env_prefix="MOA_", env_ignore_empty=True, extra="ignore", frozen=True)

    save_traces: bool = False
    trace_dir: Path = Field(default_factory=_default_trace_dir)
    session_id: str | None = None
    turns: Literal["all", "fanout"] = "all"
    propagate_threads: bool = True
    instrument: str | None = None

    @field_validator("trace_dir", mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, str | os.PathLike):
            if not os.fspath(value):
                msg = "a directory is needed, this is empty"
                raise ValueError(msg)
            return Path(os.path.expandvars(os.fspath(value))).expanduser()
        return value


def withheld(environ: Mapping[str, str]) -> str | None:
    """Return the variable that keeps tracing off because what it asks for is not there, if any."""
    for name, fine in _PROTECTIVE.items():
        value = environ.get(name, "").strip().lower()
        if value and value not in fine:
            return name
    return None


def describe_problem(error: ValidationError) -> str:
    """Return what is wrong with the settings, without the values: they may be anything."""
    return "; ".join(
        f"MOA_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False)
    )
