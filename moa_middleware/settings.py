"""
The settings, read from the environment under the prefix `MOA_`.

Importing this module imports pydantic; the live path does so only when traces are on. There is no
`.env`: a library must not read a file that its host did not ask for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ._redaction import RULES

__all__ = ["Settings", "describe_problem", "problems_of"]


def _default_trace_dir() -> Path:
    return platformdirs.user_state_path("moa_middleware") / "traces"


_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[^}]*\})")


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
        capture: `full`, or `metadata` for sizes in place of content.
        redact: Names of the rules for what is written, with commas between: `secrets`, `emails`,
            `phones`.
        max_field_bytes: UTF-8 bytes of a text that are written at most.
        max_file_bytes: A file that would grow above it is renamed first, and another begun.
        journal: Keep the calls of open turns on the disk, for `moa recover`.
    """

    model_config = SettingsConfigDict(env_prefix="MOA_", env_ignore_empty=True, extra="ignore", frozen=True)

    save_traces: bool = False
    trace_dir: Path = Field(default_factory=_default_trace_dir)
    session_id: str | None = None
    turns: Literal["all", "fanout"] = "all"
    propagate_threads: bool = True
    instrument: str | None = None
    capture: Literal["full", "metadata"] = "full"
    redact: str | None = None
    max_field_bytes: int | None = Field(default=None, ge=1)
    max_file_bytes: int | None = Field(default=None, ge=1)
    journal: bool = False

    @property
    def rules(self) -> tuple[str, ...]:
        """The redaction rules, in the order in which they are applied."""
        named = _names(self.redact or "")
        return tuple(name for name in RULES if name in named)

    @field_validator("redact")
    @classmethod
    def _know(cls, value: str | None) -> str | None:
        # An unknown name could mean anything that must not be written.
        if value is not None and not _names(value) <= RULES.keys():
            msg = f"takes {', '.join(RULES)}, with commas between"
            raise ValueError(msg)
        return value

    @field_validator("trace_dir", mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, str | os.PathLike):
            if not os.fspath(value):
                msg = "a directory is needed, this is empty"
                raise ValueError(msg)
            path = os.path.expandvars(os.fspath(value))
            if unset := _VARIABLE.search(path):
                # A directory of that name, below the working directory, is what nobody means.
                msg = f"{unset[0]} is not set"
                raise ValueError(msg)
            return Path(path).expanduser()
        return value


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")} - {""}


def describe_problem(error: ValidationError) -> str:
    """Return what is wrong with the settings, without the values: they may be anything."""
    return "; ".join(f"{name}: {said}" for name, said in problems_of(error).items())


def problems_of(error: ValidationError) -> dict[str, str]:
    """Return what is wrong by the name of its variable, without the values."""
    return {
        f"MOA_{'_'.join(str(part) for part in problem['loc']).upper()}": problem["msg"].removeprefix("Value error, ")
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    }
