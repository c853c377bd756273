"""
Which parameters of a request are recorded: an allow-list, for each family of functions; and URLs without credentials.

An argument that is not on the list, which may be a credential, is named and never shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ...errors import RequestError
from .values import declared, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["USUAL", "Params", "bare_url", "bare_url_of", "place_of_url", "query_of_url", "read_params", "users_of_url"]

# By the API references of OpenAI (*Chat*, *Responses*) and Anthropic (*Messages*), and what OpenRouter, vLLM
# and Ollama take as well. An allow-list, because an argument that is new tomorrow may be a credential:
# what is missing here is named in the record, and costs a reader its value, which can be added.
USUAL = frozenset(
    {
        *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "stop", "stop_sequences", "seed", "n"),
        *("reasoning", "reasoning_effort", "thinking", "verbosity", "response_format", "text_format"),
        *("tools", "tool_choice", "parallel_tool_calls", "modalities", "audio"),
        *("logit_bias", "logprobs", "top_logprobs", "service_tier", "stream_options"),
    }
)
_FAMILIES = {
    "openai_responses": USUAL
    | {"include", "max_tool_calls", "previous_response_id", "prompt", "store", "text", "truncation"},
    "anthropic": USUAL | {"output_config", "output_format"},
}
# By the SDKs, `extra_body` is merged into the JSON of the request. The keys are those of OpenRouter, vLLM
# and Qwen that are parameters of a model; any other may be an account's id or a key.
_EXTRA_BODY = frozenset(
    {"reasoning", "thinking", "provider", "top_k", "min_p", "repetition_penalty", "chat_template_kwargs"}
)
# Said elsewhere in the record, or an argument of the turn's rather than of the request.
_ELSEWHERE = frozenset({"model", "stream", "session_id", "preset"})

_TOOL_SECRETS = frozenset(
    {
        *("access_token", "api_key", "apikey", "authorization", "authorization_token"),
        *("client_secret", "cookie", "domain_secrets", "headers", "password", "secret", "token"),
        "x-api-key",
    }
)
"""Keys of a tool that tell how to get to a server of the user's (OpenAI's `mcp`, containers)."""
_SCHEMAS = frozenset({"parameters", "input_schema", "function"})
"""Keys of a tool under which properties have names of the caller's choice."""
_DEPTH = 8


def _refused(*_args: Any, **_kwargs: Any) -> NoReturn:
    # Silence would be worse: the record would show what was never sent.
    msg = "call.params cannot be changed in place; yield call.replace(params={**call.params, 'temperature': …})"
    raise RequestError(msg)


_refuse: Any = _refused


class Params(dict[str, Any]):
    """The parameters of a request as a middleware sees them. They are read from the arguments, which stay as they are."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    copy = __copy__

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def read_params(
    named: Mapping[str, Any], elsewhere: tuple[str | None, ...], family: str, more: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return the parameters of a request that are recorded, and the names of those that are not.

    Args:
        named: The arguments, by name.
        elsewhere: Names of those that hold the messages.
        family: Shape of the function.
        more: Parameters that are recorded besides the usual ones.
    """
    allowed = _FAMILIES.get(family, USUAL)
    if more:
        allowed |= more
    params: dict[str, Any] = {}
    omitted: list[str] = []
    for name, value in named.items():
        if name in elsewhere or name in _ELSEWHERE or value is None:
            continue
        # A tool may be a server that the provider calls (`mcp`): then its definition has a credential in it.
        if name == "tools":
            shown, hidden = _without_credentials(value)
            if shown is not None:
                params[name] = shown
            omitted += [f"tools.{key}" for key in hidden] if shown is not None else [name]
        elif name in allowed:
            params[name] = value
        elif name == "extra_body" and isinstance(value, dict):
            known = {key: item for key, item in value.items() if key in _EXTRA_BODY}
            if known:
                params[name] = known
            omitted += [f"{name}.{key}" for key in value if key not in _EXTRA_BODY]
        elif name not in ("self", "cls"):
            omitted.append(name)
    return params, tuple(omitted)


def _without_credentials(tools: Any) -> tuple[Any, list[str]]:
    """Return tools without the ways into their servers, and the names of what was left out; `None` if it cannot tell."""
    hidden: set[str] = set()
    try:
        if type(tools) is not list and type(tools) is not tuple:
            tools = _as_builtin(tools)
            tools = [tools] if isinstance(tools, dict) else tools
        if not isinstance(tools, list | tuple):
            return None, []
        shown = [_shown(tool, hidden, _DEPTH) for tool in tools]
    except Exception:  # a tool's own code
        return None, []
    return shown, sorted(hidden)


_AS_THEY_ARE = frozenset({str, int, float, bool, type(None)})


def _as_builtin(value: Any) -> Any:
    """
    Return a value of another class as a dict or a list, itself if it is neither: it is written by the name of its type.

    A pydantic model as what was set in it, since that is what the SDKs send.
    """
    kind = type(value)
    dump = declared(kind, "model_dump") if not isinstance(value, type) else None
    found = dump(value, mode="json", exclude_unset=True) if callable(dump) else plain(value)
    return found if isinstance(found, dict | list) else value


def _shown(value: Any, hidden: set[str], depth: int) -> Any:
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind is not dict and kind is not list and kind is not tuple:
        # Any class whose fields are written may keep a credential in one of them.
        value = _as_builtin(value)
    if isinstance(value, list | tuple):
        return [_shown(item, hidden, depth - 1) for item in value] if depth else []
    if type(value) is not dict:
        return value
    shown = {}
    for key, item in value.items():
        if key in _SCHEMAS:
            shown[key] = item
        elif str(key).casefold() in _TOOL_SECRETS or not depth:
            hidden.add(str(key))
        elif isinstance(item, str) and "://" in item and (bare := bare_url(item)) != item:
            # `https://user:password@host/mcp?key=…` is a way in as well.
            hidden.add(f"{key}.query")
            shown[key] = bare
        else:
            shown[key] = _shown(item, hidden, depth - 1)
    return shown


def bare_url(url: str) -> str:
    """Return scheme, host and path of a URL, "" if it is not one: a user, a password or a query may be a credential."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{port}{parts.path}"


def place_of_url(url: str) -> tuple[str, int | None, str]:
    """Return host, port and path of a URL; all empty if it is not one."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port, parts.path
    except ValueError:
        return "", None, ""


def query_of_url(url: str) -> list[dict[str, list[str]]]:
    """Return the parts of a URL's query, each with its value as sent and decoded; an empty list if it is not one."""
    from urllib.parse import unquote_plus, urlsplit

    try:
        pairs = [pair.partition("=") for pair in urlsplit(url).query.split("&")]
    except ValueError:
        return []
    return [{name: [value, unquote_plus(value)]} for name, _, value in pairs]


def users_of_url(url: str) -> list[tuple[str, list[str]]]:
    """Return the user of a URL with the password as sent and decoded; an empty list if it has none."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return []
    return [(unquote(parts.username or ""), [password, unquote(password)])] if password else []


_MOST_URLS = 64
_bare_urls: dict[int, tuple[object, str]] = {}
"""URL objects of clients by their identity, each with what `bare_url` returned."""


def bare_url_of(url: object) -> str:
    """
    Return `bare_url` of a client's URL object, remembered for that object.

    Args:
        url: An object that does not change, as `httpx.URL`: a client that gets another base URL
            gets another object.
    """
    found = _bare_urls.get(id(url))
    if found is not None and found[0] is url:
        return found[1]
    # To write and split a URL takes 20 µs, and every request of a client has the same. A cache by the
    # URL's hash would write it each time; one on the client would leave a mark there. The URL is held,
    # because the identity of an object that is gone may be another's; its client is not.
    bare = bare_url(str(url))
    if len(_bare_urls) >= _MOST_URLS:
        _bare_urls.clear()
    _bare_urls[id(url)] = (url, bare)
    return bare
