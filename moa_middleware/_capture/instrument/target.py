"""
One target: a function or method of a module, and its options.

How targets are written in a list is not known here (`grammar`), nor what is done with them.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the annotations of a public class can be read
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from ..shapes.signature import Argument

if TYPE_CHECKING:
    from ..calls.function import Options

__all__ = ["ROLES", "Argument", "Target", "is_dotted"]

ROLES = ("turn", "reference", "aggregator", "call")
"""What a function may be."""
_OPTIONS = ("label", "model", "provider", "layer", "session_id", "preset", "messages", "system", "tags")
_NAMES = ("messages", "system")
"""Options that are the name of a parameter, or a dotted path from one."""


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
        model: The model; or where its name is: a parameter, or a dotted path from one, as
            `self.config.model`.
        provider: The provider.
        layer: The round of references, from 1.
        session_id: The session.
        preset: Name of the ensemble.
        messages: Name of the parameter that holds the request, if it is not a usual one, or a dotted
            path from one.
        system: The same for the text that the model reads before the request.
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
    system: str | None = None
    tags: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        for what, name in (("module", self.module), ("path", self.path)):
            if not is_dotted(name):
                msg = f"a target's {what} is a dotted name, not {name!r:.80}; write pkg.mod:Class.method=role"
                raise TargetError(msg)
        if self.role is not None and self.role not in ROLES:
            msg = f"{self.name}: unknown role {self.role!r:.80}; choose from {', '.join(ROLES)}"
            raise TargetError(msg)

    @property
    def name(self) -> str:
        """The target without its role, as it is written."""
        return f"{self.module}:{self.path}"

    @property
    def kind(self) -> str:
        """`turn` or `call`."""
        return "turn" if self.role == "turn" else "call"

    def parameters(self) -> list[tuple[str, str]]:
        """Return the options that name a parameter of the function, each with that name."""
        values = ((name, getattr(self, name)) for name in _OPTIONS)
        paths = (
            (name, value.path if isinstance(value, Argument) else value if name in _NAMES else None)
            for name, value in values
        )
        return [(name, path.partition(".")[0]) for name, path in paths if path is not None]

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


def is_dotted(name: object) -> bool:
    """Return True if it is a name with dots between identifiers."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))
