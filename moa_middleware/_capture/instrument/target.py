"""
One target: a function or method of a module, and its options.

How a target is written, as `pkg.mod:Class.method=role`, is known here; what is done with it is not.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotations of a public class can be read
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from ...errors import TargetError

if TYPE_CHECKING:
    from ..calls.function import Options

__all__ = ["Target", "entries_of", "read"]

_ROLES = ("turn", "reference", "aggregator", "call")
_OPTIONS = ("label", "model", "provider", "layer", "session_id", "preset", "messages", "tags")


@dataclass(frozen=True, slots=True)
class Target:
    """
    One function or method that is instrumented as soon as its module is imported.

    Attributes:
        module: Dotted name of the module. The target does not import it.
        path: `function`, `Class.method`, `Outer.Inner.method`, or `Class.chat.completions.create`,
            which is looked up on each instance after its `__init__`.
        role: `turn`, `reference`, `aggregator`, or `call`, whose role is inferred; `None` is
            `call`.
        label: A value, or a function of the bound arguments, as for the next five.
        model: The model.
        provider: The provider.
        layer: The round of references, from 1.
        session_id: The session.
        preset: Name of the ensemble.
        messages: Name of the parameter that holds the request, if it is not a usual one.
        tags: A mapping of your own.
        options: Further options of this version by name; they override those above.
        optional: True if versions of the module without this path are not worth a warning.

    Raises:
        TargetError: A malformed name, or an unknown role.
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
            msg = f"{self.name}: unknown role {self.role!r:.80}; choose from {', '.join(_ROLES)}"
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
        Return the options of the function: the target's own over those of `default`.

        Raises:
            TargetError: This version does not know one of `options`.
        """
        given: dict[str, Any] = {"role": None if self.role in ("turn", "call") else self.role}
        given.update({name: value for name in _OPTIONS if (value := getattr(self, name)) is not None})
        given.update(self.options or {})
        unknown = sorted(set(given) - set(default._fields) | ({"kind"} & set(given)))
        if unknown:
            msg = f"{self.name}: unknown option {', '.join(unknown)}"
            raise TargetError(msg)
        return default._replace(kind=self.kind, **given)


def entries_of(text: str) -> list[str]:
    """Return the entries of a comma-separated list."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def read(entry: str) -> Target | None:
    """
    Return the target that an entry spells out, `None` if the entry is a name.

    Raises:
        TargetError: The entry is neither.
    """
    module, colon, path = entry.partition(":")
    if not colon:
        if "=" in entry:
            msg = f"{entry!r:.80}: a name takes no role; write pkg.mod:Class.method=role"
            raise TargetError(msg)
        return None
    path, equals, role = path.partition("=")
    return Target(module.strip(), path.strip(), role.strip() if equals else None)
