"""
`moa demo`: one turn of a small Mixture-of-Agents client, and the record that it leaves.

Against a scripted server in this process, or against any OpenAI-compatible endpoint. The client is
in `_demo_client`, how a turn is shown in `_progress` and `_summary`; this module checks what was
asked for and says what went wrong.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from ._exit import MISSING, USAGE, Failure, missing_extra
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_KEY = "OPENAI_API_KEY"
_HELP = (
    f"{VERBS['demo']}\n\n"
    "Without options, a real openai client asks a scripted server on loopback, where one of the three "
    "references fails. With them, the same client asks an endpoint of yours. The trace is saved in "
    "MOA_TRACE_DIR if that is set, else where traces go by default."
)


@app.command(help=_HELP)
def demo(
    question: Annotated[
        str | None, typer.Argument(help="What to ask; only with --base-url.", show_default=False)
    ] = None,
    *,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url",
            metavar="URL",
            help=f"An OpenAI-compatible endpoint, https://…/v1; its key is taken from {_KEY}.",
            show_default=False,
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="MODEL", help="A model that proposes; give it several times."),
    ] = None,
    aggregator: Annotated[
        str | None, typer.Option("--aggregator", metavar="MODEL", help="The model that answers.")
    ] = None,
) -> None:
    """Check what was asked for, and run it."""
    given = {
        "--base-url": base_url,
        "--reference": reference and all(model.strip() for model in reference),
        "--aggregator": aggregator and aggregator.strip(),
        "a question": question and question.strip(),
    }
    host = key = ""
    if any(value is not None for value in (base_url, reference or None, aggregator, question)):
        _check_options(given)
        host = _host_of(base_url or "")
        key = _key_for(host)
    if find_spec("openai") is None:
        raise missing_extra("moa demo", "demo")
    from ._demo_run import Endpoint, run, run_scripted

    if base_url is None:
        run_scripted()
    else:
        run(Endpoint(base_url, host, key), tuple(reference or ()), aggregator or "", question or "")


def _check_options(given: Mapping[str, object]) -> None:
    missing = [name for name, value in given.items() if not value]
    if missing:
        message = (
            f"moa demo: an endpoint of your own needs --base-url, --reference, --aggregator and a question; "
            f"missing or empty: {', '.join(missing)}"
        )
        raise Failure(message, USAGE)


def _host_of(base_url: str) -> str:
    """Return host and port, without the user and password that a URL may hold."""
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    else:
        if parts.scheme not in ("http", "https"):
            host = None
    if not host or not base_url.isprintable() or " " in base_url:
        raise Failure("moa demo: --base-url must be a URL with its scheme: https://api.example.com/v1", USAGE)
    if ":" in host:
        host = f"[{host}]"
    return one_line(host if port is None else f"{host}:{port}")


def _key_for(host: str) -> str:
    key = os.environ.get(_KEY, "").strip()
    if not key:
        message = f"moa demo: {_KEY} is not set; {host} is asked with it (any word will do for a server that takes all)"
        raise Failure(message, MISSING)
    if not (key.isascii() and key.isprintable()):
        raise Failure(f"moa demo: {_KEY} holds characters that no HTTP header can carry", MISSING)
    return key
