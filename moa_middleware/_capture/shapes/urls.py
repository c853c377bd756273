"""URLs without what may be a credential in them."""

from __future__ import annotations

__all__ = ["bare_url"]


def bare_url(url: str) -> str:
    """Return scheme, host and path of a URL, "" if it is none: a user, a password or a query may be a credential."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"
