"""
The settings, read from the environment under the prefix `MOA_`.

Importing this module imports pydantic; the live path does so only when traces are on. There is no
`.env`: a library must not read a file that its host did not ask for.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ._layout.digest import HMAC, problem_of, read_key
from ._redaction import RULES, secrets
from ._variables import cleaned

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

__all__ = ["Settings", "describe_problem", "problems_of", "words_of"]


def _default_trace_dir() -> Path:
    return platformdirs.user_state_path("moa_middleware") / "traces"


_LONGEST = 80
"""Characters of a bad value that an error shows."""
_WORDS = ("turns", "capture", "integrity")
"""Settings whose value is one of a few words."""
_HIDDEN = "MOA_INTEGRITY_KEY_FILE"
"""A variable whose value is not shown: somebody may have put the key itself there."""


class _Environment(EnvSettingsSource):
    """The environment; a value without blanks and quotes around it, and words without case."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        value, key, is_complex = super().get_field_value(field, field_name)
        if isinstance(value, str):
            # What is empty without them counts as not set, as an empty variable does.
            value = cleaned(value) or None
            if value is not None and field_name in _WORDS:
                value = value.lower()
        return value, key, is_complex


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
        integrity: `off`; `digest`, so that each line shows accidental changes of itself and missing lines
            before it; or `hmac`, so that it shows every change by somebody without the key.
        integrity_key_file: File of the key for `hmac`; `~` and `$VAR` are expanded.
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
    integrity: Literal["off", "digest", "hmac"] = "off"
    integrity_key_file: Path | None = Field(default=None, validate_default=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - replaced
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is none
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is none
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where values come from, what is passed first."""
        return init_settings, _Environment(settings_cls)

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

    @field_validator("integrity_key_file")
    @classmethod
    def _read_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        # The file is read where it is needed, so that traces are not written without what they were to prove.
        if info.data.get("integrity") == HMAC:
            if value is None:
                msg = "MOA_INTEGRITY=hmac needs the file of a key; make one with: head -c 32 /dev/urandom > FILE"
                raise ValueError(msg)
            try:
                read_key(value)
            except (OSError, ValueError) as error:
                # Without the value: where the key itself was put in place of its path, it must not be logged.
                msg = f"the key file {problem_of(error)}; make one with: head -c 32 /dev/urandom > FILE"
                raise ValueError(msg) from None
        return value

    @field_validator("trace_dir", "integrity_key_file", mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if isinstance(value, str | os.PathLike):
            if not os.fspath(value):
                msg = "a path is needed, this is empty"
                raise ValueError(msg)
            path = os.path.expandvars(os.fspath(value))
            if unset := _VARIABLE.search(path):
                # A file of that name, below the working directory, is never meant.
                msg = f"{unset[0]} is not set"
                raise ValueError(msg)
            try:
                return Path(path).expanduser()
            except RuntimeError:
                msg = f"the home directory of {path.partition(os.sep)[0]!r} is unknown"
                raise ValueError(msg) from None
        return value


def _names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")} - {""}


_BYTES = "takes a whole number of bytes from 1, without a unit"
_SAID = {
    **dict.fromkeys(("bool_parsing", "bool_type"), "takes 1, true, yes or on, and 0, false, no or off"),
    **dict.fromkeys(("int_parsing", "int_type", "greater_than_equal"), _BYTES),
}
"""What is wrong by pydantic's type of the error, where its own words do not say what to write."""


def describe_problem(error: ValidationError) -> str:
    """Return what is wrong with the settings, each by the name of its variable."""
    return "; ".join(f"{name}: {said}" for name, said in problems_of(error).items())


def problems_of(error: ValidationError) -> dict[str, str]:
    """
    Return what is wrong by the name of its variable.

    Values are shown as they are in the environment, but for those that look like a credential.
    """
    found: dict[str, str] = {}
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = f"MOA_{'_'.join(str(part) for part in problem['loc']).upper()}"
        said = words_of(problem)
        value = os.environ.get(name)
        found[name] = said if value is None or name == _HIDDEN else f"{said} (got {_shown(value)})"
    return found


def words_of(problem: ErrorDetails) -> str:
    """Return what is wrong with a value, in one sentence."""
    return _SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))


def _shown(value: str) -> str:
    """Return a value as an error shows it: escaped, so that a newline is visible, cut, and never a credential."""
    if secrets(value) != value:
        return "a value that looks like a credential"
    return repr(value) if len(value) <= _LONGEST else f"{value[:_LONGEST]!r}…"
