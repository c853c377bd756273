"""
One target: a function or method of a module that is named, and what is said of it.

How a target is written, as `pkg.mod:Class.method=role`, is known here; what is done with it is not.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotations of a public class can be read
from dataclasses import KW_ONLY, dataclass
from typing import Any

from ...errors import TargetError
from ..calls.function import Options

__all__ = ["Target", "entries_of", "read"]

_ROLES = ("turn", "reference", "aggregator", "call")
_OPTIONS = ("label", "model", "provider", "layer", "session_id", "preset", "messages", "tags")


@dataclass(frozen=True, slots=True)
class Target:
    """
    One function or method to be instrumented when its module is there.

    Attributes:
        module: Dotted name of the module; it is never imported for the target's sake.
        path: `function`, `Class.method`, `Outer.Inner.method`, or `Class.chat.completions.create`,
            which is looked up on each instance after its `__init__`.
        role: `turn`, `reference`, `aggregator`, or `call`, whose role is to be inferred; `None` is
            `call`.
        label: A value, or a function of the bound arguments; and so for the next ones.
        model: The same.
        provider: The same.
        layer: The same.
        session_id: The same.
        preset: The same.
        messages: Name of the parameter that holds the request, where it has a name of its own.
        tags: A mapping of your own.
        options: Further options by name, as far as this version has them; they win over those above.
        optional: Whether nothing is said if the module has no such path, since its versions differ.

    Raises:
        TargetError: A name that no module or path can have, or a role that there is not.
    """

    module: str
    path: str
    role: str | None = None
    _: KW_ONLY
    label: Any = None
    model: Any = None
    provider: Any = None
    layer: Any = None
    session_id: Any = None
    preset: Any = None
    messages: str | None = None
    tags: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        for what, name in (("module", self.module), ("path", self.path)):
            if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
                msg = f"a target's {what} is a dotted name, not {name!r:.80}; write pkg.mod:Class.method=role"
                raise TargetError(msg)
        if self.role is not None and self.role not in _ROLES:
            msg = f"{self.name}: {self.role!r:.80} is no role, the roles are {', '.join(_ROLES)}"
            raise TargetError(msg)

    @property
    def name(self) -> str:
        """The target without its role, as it is written."""
        return f"{self.module}:{self.path}"

    @property
    def kind(self) -> str:
        """`turn` or `call`."""
        return "turn" if self.role == "turn" else "call"

    def options_over(self, default: Options) -> Options:
        """
        Return the options of the function, where those of `default` are not given.

        Raises:
            TargetError: One of `options` is not known in this version.
        """
        said: dict[str, Any] = {"role": None if self.role in ("turn", "call") else self.role}
        said.update({name: value for name in _OPTIONS if (value := getattr(self, name)) is not None})
        said.update(self.options or {})
        unknown = sorted(set(said) - set(Options._fields) | ({"kind"} & set(said)))
        if unknown:
            msg = f"{self.name}: there is no option {', '.join(unknown)}"
            raise TargetError(msg)
        return default._replace(kind=self.kind, **said)


def entries_of(text: str) -> list[str]:
    """Return what stands between the commas."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def read(entry: str) -> Target | None:
    """
    Return the target that an entry spells out, `None` if it is a name.

    Raises:
        TargetError: It is neither.
    """
    module, colon, path = entry.partition(":")
    if not colon:
        if "=" in entry:
            msg = f"{entry!r:.80}: a name takes no role; write pkg.mod:Class.method=role"
            raise TargetError(msg)
        return None
    path, equals, role = path.partition("=")
    return Target(module.strip(), path.strip(), role.strip() if equals else None)
