"""
The errors that this package raises itself, one class a misuse.

    MoaError
    ├── DecorationError        a decorator on something that it cannot wrap
    ├── TargetError            a dotted path that leads nowhere
    ├── TagError               a keyword that `tag` or `turn` does not know
    ├── SettingsError          a bad argument to `configure`
    ├── ExtraMissingError      an optional dependency is not installed
    ├── ProviderError          recorded, never raised: a provider's reply that says that it failed
    ├── ReadError              reading traces
    │   ├── UnreadableError    what is to be read is not there, or cannot be opened
    │   ├── QueryError         a filter, a grouping or a rule that does not exist
    │   │   └── ReportSizeError  a page would be larger than was allowed
    │   ├── NoTurnError        no turn has that name
    │   ├── AmbiguousTurnError several turns have that name
    │   └── ProblemError       a strict reading met a problem
    └── MiddlewareError        a middleware broke the protocol
        ├── DidNotYieldError   neither a yield nor a value
        ├── ResendError        asked to send again when it is too late
        ├── AsyncOnSyncError   awaited on a sync client
        ├── ReplyFormError     answered in a form that the caller cannot use
        └── RequestError       edited a part of the request that is not known

They are raised for the programmer's own mistakes, at the place of the mistake. A fault of this
package's during a live call is never one of these: it is counted and logged, and the call goes on.
No message holds any content of a prompt or of a reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AmbiguousTurnError",
    "AsyncOnSyncError",
    "DecorationError",
    "DidNotYieldError",
    "ExtraMissingError",
    "MiddlewareError",
    "MoaError",
    "NoTurnError",
    "ProblemError",
    "ProviderError",
    "QueryError",
    "ReadError",
    "ReplyFormError",
    "ReportSizeError",
    "RequestError",
    "ResendError",
    "SettingsError",
    "TagError",
    "TargetError",
    "UnreadableError",
]


class MoaError(Exception):
    """The root of every error that this package raises itself."""


class DecorationError(MoaError, TypeError):
    """A decorator was put on something that it cannot wrap."""


class TargetError(MoaError, LookupError):
    """A dotted path names nothing that could be instrumented."""


class TagError(MoaError, TypeError):
    """An unknown keyword, or a value of the wrong type, was given to a tag or a turn."""


class SettingsError(MoaError, ValueError):
    """`configure` was given a value that it cannot use."""


class ExtraMissingError(MoaError, ImportError):
    """An optional dependency is missing; the message names the extra that installs it."""


class ProviderError(MoaError):
    """
    A failure that a provider reports in a reply, where its SDK raises nothing.

    It is never raised: a record and a `Reply.error` hold it. OpenAI's Responses API ends a stream
    with the event `response.failed`; gateways send `{"error": …}` with the status 200, in a body, a choice or an event.

    Attributes:
        body: What the provider reported: `code` and `type`, as far as it named them.
    """

    def __init__(self, message: str = "", body: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.body = {} if body is None else dict(body)


class ReadError(MoaError):
    """Traces cannot be read as they were asked for."""


class UnreadableError(ReadError, OSError):
    """What is to be read is not there, or cannot be opened."""


class QueryError(ReadError, ValueError):
    """A filter, a grouping or a rule does not exist, or has a value that it cannot use."""


class ReportSizeError(QueryError):
    """A page of a report would be larger than `max_bytes`; the message says by how much."""


class NoTurnError(ReadError, LookupError):
    """No turn has the name that was given."""


class AmbiguousTurnError(ReadError, LookupError):
    """Several turns have the name that was given; the message has names that tell them apart."""


class ProblemError(ReadError, ValueError):
    """
    A strict reading met a problem.

    Attributes:
        problem: The `moa_middleware.read.Problem`.
    """

    def __init__(self, message: str, problem: object = None) -> None:
        super().__init__(message)
        self.problem = problem


class MiddlewareError(MoaError, RuntimeError):
    """A middleware broke the protocol."""


class DidNotYieldError(MiddlewareError):
    """A middleware neither yielded the call nor returned a reply."""


class ResendError(MiddlewareError):
    """A middleware asked to send again after chunks had reached the consumer."""


class AsyncOnSyncError(MiddlewareError):
    """A middleware awaited something although the client is a sync one."""


class ReplyFormError(MiddlewareError):
    """A middleware answered with a value that the caller did not ask for."""


class RequestError(MiddlewareError):
    """A middleware edited a part of the request that this package could not find."""
