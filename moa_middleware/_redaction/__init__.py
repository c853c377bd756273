"""
The rules for secrets and personal data: pure functions on text, which both wings use.

A rule errs on the side of the text: it takes what is a credential, an address or a number to call by
its form, or by the name before it, and leaves commit hashes, ids, line numbers, dates, addresses of
machines, versions, prices and names of models alone. Every rule takes time in proportion to the text.

The sources are in the modules: `key_forms`, `forms` and `names` for secrets, `people` for addresses and numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .forms import in_addresses, with_forms
from .marks import EMAIL, MARK, PHONE
from .names import by_name, is_secret_under
from .people import emails, is_number_under, phones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .steps import Steps

__all__ = ["EMAIL", "MARK", "PHONE", "RULES", "emails", "named", "phones", "secrets"]


def secrets(text: str, steps: Steps | None = None, *, is_cut: bool = False) -> str:
    """
    Return a text with each credential in it replaced by `MARK`.

    Args:
        text: The text.
        steps: How many names may be looked at, `None` for all.
        is_cut: More followed: a value in quotes may have its end there.

    Raises:
        TooManyStepsError: `steps` is used up.
    """
    return with_forms(by_name(in_addresses(text), steps, is_cut=is_cut))


def _emails(text: str, steps: Steps | None = None) -> str:  # noqa: ARG001 - as the other rules
    return emails(text)


def _phones(text: str, steps: Steps | None = None) -> str:  # noqa: ARG001 - as the other rules
    return phones(text)


class Rule(Protocol):
    """A rule: takes a text and what may be looked at, and returns the text as it may be written."""

    def __call__(self, text: str, steps: Steps | None = None) -> str: ...


RULES: Mapping[str, Rule] = {"secrets": secrets, "emails": _emails, "phones": _phones}
"""By the names that `MOA_REDACT` takes."""


def named(rule: str, name: str, value: str) -> str | None:
    """
    Return the mark for a value that is a credential or a number by the name that it has, else `None`.

    Args:
        rule: A name in `RULES`.
        name: Key of the value in a mapping.
        value: The whole value.
    """
    if rule == "secrets" and is_secret_under(name, value):
        return MARK
    if rule == "phones" and is_number_under(name, value):
        return PHONE
    return None
