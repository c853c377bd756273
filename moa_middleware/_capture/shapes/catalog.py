"""
The SDKs that are known by name: where their methods are, and where the parts of a request are in the arguments.

One row an SDK. How a form that only one SDK has is read is in that SDK's module, which `formats` lists.
Nothing here is imported from an SDK; what an installed version of one lacks is left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CATALOG", "SDKS", "Form", "Methods", "Sdk", "is_loaded", "method_of", "name_of", "sdk_of_module"]


class Form(NamedTuple):
    """Where the parts of a request are in the arguments of a method."""

    family: str
    """Shape of the request and its reply: a family that is known, or a new one."""
    messages: str = "messages"
    system: str | None = None
    """Name of the argument that the model reads before the messages, or a dotted path, `config.system_instruction`."""
    model: str = "model"
    holders: tuple[str, ...] = ()
    """Names of arguments whose keys or attributes are parameters: `config` of Gemini's."""
    params: frozenset[str] = frozenset()
    """Parameters that are recorded besides the usual ones."""


class Methods(NamedTuple):
    """Methods of one class of an SDK, and of its async counterpart; or functions of a module."""

    module: str
    classes: tuple[str, ...]
    """Their names, none for functions of the module."""
    path: str
    """Where a client has an object of the class; "" where it is the client itself, or for functions."""
    names: tuple[str, ...]
    form: Form | None = None
    """`None` where the signature shows the family."""
    streams: frozenset[str] = frozenset()
    """Names of those that return a stream whatever their arguments say."""
    factory: str = ""
    """
    A method of this module, `Class.method`, that makes classes at run time: its results have the methods.

    Then `classes` are the bases of these classes.
    """
    inside: str = ""
    """Key of the returned dict under which the reply is that the caller reads, a stream or a file-like body."""
    returns_coroutine: bool = False
    """True if they return coroutines, and are plain functions all the same."""


class Sdk(NamedTuple):
    """One SDK."""

    name: str
    """As `moa.instrument("…")` and `MOA_INSTRUMENT` take it."""
    methods: tuple[Methods, ...]
    modules: tuple[str, ...]
    """Its packages. The first is what a program imports."""
    provider: str
    """What the record calls it."""
    clients: frozenset[str] = frozenset()
    """Names of its clients' classes; empty where a client is what has `with_options`."""
    link: str = "_client"
    """Attribute in which an object that has the methods, and a client of its SDK, holds what both share."""
    endpoint: Callable[[Any], Any] | None = None
    """Returns the URL that an object with the methods sends to; without it, that is `_client.base_url`."""
    copies: tuple[str, ...] = ()
    """Methods of a client that return a copy of it."""
    managers: frozenset[str] = frozenset()
    """Names of methods that return a stream manager."""
    sign: str = ""
    """The module that shows that a program calls models by it, where its package serves other purposes too."""


def _stainless(name: str, *methods: tuple[str, str, str, str]) -> Sdk:
    """Return the row of an SDK that Stainless generates: module, class (with an `Async` one), path and methods."""
    found = tuple(
        Methods(module, (cls, f"Async{cls}"), path, tuple(names.split())) for module, cls, path, names in methods
    )
    copies, managers = ("copy", "with_options"), frozenset({"stream"})
    return Sdk(name, found, (name,), name, copies=copies, managers=managers)


# OpenAI and those that took over its form -----------------------------------------------------------

_OPENAI = _stainless(
    "openai",
    ("openai.resources.chat.completions.completions", "Completions", "chat.completions", "create parse stream"),
    ("openai.resources.responses.responses", "Responses", "responses", "create parse stream"),
    ("openai.resources.beta.responses.responses", "Responses", "beta.responses", "create parse stream"),
    ("openai.resources.beta.chat.completions", "Completions", "beta.chat.completions", "create parse stream"),
    ("openai.resources.completions", "Completions", "completions", "create"),
)
_TOGETHER = _stainless(
    "together",
    ("together.resources.chat.completions", "CompletionsResource", "chat.completions", "create"),
    ("together.resources.chat.completions", "ChatCompletions", "chat.completions", "create"),
    ("together.resources.completions", "CompletionsResource", "completions", "create"),
)
_GROQ = _stainless("groq", ("groq.resources.chat.completions", "Completions", "chat.completions", "create"))
_LITELLM = Sdk("litellm", (Methods("litellm", (), "", ("completion", "acompletion")),), ("litellm",), "litellm")
_ANTHROPIC = _stainless(
    "anthropic",
    ("anthropic.resources.messages.messages", "Messages", "messages", "create parse stream"),
    ("anthropic.resources.beta.messages.messages", "Messages", "beta.messages", "create parse stream"),
)

# With forms of their own ----------------------------------------------------------------------------

_OF_GEMINI = frozenset(
    {
        *("automatic_function_calling", "cached_content", "candidate_count", "image_config", "labels"),
        *("media_resolution", "response_json_schema", "response_logprobs", "response_mime_type"),
        *("response_modalities", "response_schema", "safety_settings", "speech_config", "thinking_config"),
        "tool_config",
    }
)
"""By the Gemini API reference, *GenerationConfig*; the others of `config` have names that are usual."""
_GOOGLE = Sdk(
    "google-genai",
    (
        Methods(
            "google.genai.models",
            ("Models", "AsyncModels"),
            "models",
            ("generate_content", "generate_content_stream"),
            Form("gemini", "contents", "config.system_instruction", holders=("config",), params=_OF_GEMINI),
            streams=frozenset({"generate_content_stream"}),
        ),
    ),
    ("google.genai",),
    "google",
    clients=frozenset({"Client", "AsyncClient"}),
    link="_api_client",
    endpoint=lambda models: models._api_client._http_options.base_url,
)

_OF_MISTRAL = frozenset(
    {"guardrails", "min_tokens", "prediction", "prompt_cache_key", "prompt_mode", "random_seed", "safe_prompt"}
)
_OF_CHAT = ("complete", "complete_async", "stream", "stream_async")
_STREAMED = frozenset({"stream", "stream_async"})


def _mistral_methods(package: str) -> tuple[Methods, ...]:
    chat = Form("mistral", params=_OF_MISTRAL)
    fim = Form("mistral", "prompt", params=_OF_MISTRAL | {"suffix"})
    return (
        Methods(f"{package}.chat", ("Chat",), "chat", _OF_CHAT, chat, _STREAMED),
        Methods(f"{package}.agents", ("Agents",), "agents", _OF_CHAT, chat._replace(model="agent_id"), _STREAMED),
        Methods(f"{package}.fim", ("Fim",), "fim", _OF_CHAT, fim, _STREAMED),
    )


_MISTRAL = Sdk(
    "mistralai",
    # The second before version 2.
    (*_mistral_methods("mistralai.client"), *_mistral_methods("mistralai")),
    ("mistralai",),
    "mistral",
    clients=frozenset({"Mistral"}),
    link="parent_ref",
    endpoint=lambda chat: chat.sdk_configuration.get_server_details()[0],
)
_OF_HUGGING_FACE = Form("openai_chat")
_HUGGING_FACE = Sdk(
    "huggingface_hub",
    (
        Methods("huggingface_hub.inference._client", ("InferenceClient",), "", ("chat_completion",), _OF_HUGGING_FACE),
        Methods(
            "huggingface_hub.inference._generated._async_client",
            ("AsyncInferenceClient",),
            "",
            ("chat_completion",),
            _OF_HUGGING_FACE,
        ),
    ),
    ("huggingface_hub",),
    "huggingface",
    clients=frozenset({"InferenceClient", "AsyncInferenceClient"}),
    link="",
    # A client holds the URL that it was made with as its model.
    endpoint=lambda client: url if "://" in (url := str(client.model)) else None,
    sign="huggingface_hub.inference._client",
)

_BOTH = ("Client", "AsyncClient")
_OF_OLLAMA = frozenset({"format", "keep_alive", "options", "raw", "think"})
_OLLAMA = Sdk(
    "ollama",
    (
        Methods("ollama._client", _BOTH, "", ("chat",), Form("ollama", params=_OF_OLLAMA)),
        Methods("ollama._client", _BOTH, "", ("generate",), Form("plain", "prompt", "system", params=_OF_OLLAMA)),
        Methods("ollama", (), "", ("chat", "generate")),
    ),
    ("ollama",),
    "ollama",
    clients=frozenset(_BOTH),
    link="",
    endpoint=lambda client: client._client.base_url,
)

_OF_COHERE = frozenset(
    {
        *("citation_options", "citation_quality", "documents", "k", "p", "prompt_truncation", "priority"),
        *("raw_prompting", "safety_mode", "search_queries_only", "strict_tools"),
    }
)
_CHAT = ("chat", "chat_stream")
_STREAM = frozenset({"chat_stream"})
_COHERE = Sdk(
    "cohere",
    (
        Methods(
            "cohere.v2.client",
            ("V2Client", "AsyncV2Client"),
            "",
            _CHAT,
            Form("cohere", params=_OF_COHERE),
            streams=_STREAM,
        ),
        Methods(
            "cohere.base_client",
            ("BaseCohere", "AsyncBaseCohere"),
            "",
            _CHAT,
            Form("plain", "message", "preamble", params=_OF_COHERE),
            streams=_STREAM,
        ),
    ),
    ("cohere",),
    "cohere",
    clients=frozenset({"BaseCohere", "AsyncBaseCohere", "V2Client", "AsyncV2Client"}),
    link="",
    endpoint=lambda client: client._client_wrapper.get_base_url(),
)

# boto3 makes the class of each client at run time, and so does aiobotocore, which is built on botocore.
_CONVERSE = Form(
    "bedrock",
    system="system",
    model="modelId",
    holders=("inferenceConfig", "toolConfig"),
    params=frozenset(
        {
            *("maxTokens", "temperature", "topP", "stopSequences", "toolChoice", "additionalModelRequestFields"),
            *("guardrailConfig", "outputConfig", "performanceConfig", "serviceTier"),
        }
    ),
)
_INVOKE = Form(
    "bedrock_body",
    "body",
    model="modelId",
    holders=("body",),
    params=frozenset(
        {
            *("max_gen_len", "maxTokenCount", "maxTokens", "topP", "topK", "stopSequences", "toolChoice", "k", "p"),
            *("guardrailIdentifier", "guardrailVersion", "performanceConfigLatency", "serviceTier"),
        }
    ),
)


def _bedrock(module: str, base: str, factory: str) -> tuple[Methods, ...]:
    """Return the rows of the clients whose classes a factory of botocore or aiobotocore makes."""
    is_async = module.startswith("aiobotocore")
    converse = Methods(module, (base,), "", ("converse",), _CONVERSE, factory=factory, returns_coroutine=is_async)
    streamed, invoked = "converse_stream", "invoke_model_with_response_stream"
    return (
        converse,
        converse._replace(names=(streamed,), streams=frozenset({streamed}), inside="stream"),
        converse._replace(names=("invoke_model", invoked), form=_INVOKE, streams=frozenset({invoked}), inside="body"),
    )


_BEDROCK = Sdk(
    "bedrock",
    (
        *_bedrock("botocore.client", "BaseClient", "ClientCreator._create_client_class"),
        *_bedrock("aiobotocore.client", "AioBaseClient", "AioClientCreator._create_client_class"),
    ),
    ("boto3", "botocore", "aiobotocore"),
    "bedrock",
    clients=frozenset({"BedrockRuntime"}),
    link="meta",
    endpoint=lambda client: client.meta.endpoint_url,
)

_ROWS = (
    *(_ANTHROPIC, _BEDROCK, _COHERE, _GOOGLE, _GROQ, _HUGGING_FACE, _LITELLM),
    *(_MISTRAL, _OLLAMA, _OPENAI, _TOGETHER),
)
CATALOG = {sdk.name: sdk for sdk in _ROWS}
"""The SDKs by name."""
SDKS = frozenset(CATALOG)
"""Their names."""
_BY_PACKAGE = {package: sdk.name for sdk in CATALOG.values() for package in sdk.modules}


# Asked for each call. A C call enters no frame of ours, and the modules of a program are few.
@lru_cache(maxsize=512)
def sdk_of_module(module: str) -> str:
    """Return the name of the SDK that a module is of, "" for any other."""
    while module:
        found = _BY_PACKAGE.get(module)
        if found is not None:
            return found
        module = module.rpartition(".")[0]
    return ""


def name_of(module: str) -> str:
    """Return the name of the SDK whose package this is, "" for any other module."""
    return _BY_PACKAGE.get(module, "")


def method_of(module: str, name: str) -> Methods | None:
    """Return the row of a method of an SDK, by the module of its function and its name; `None` for any other."""
    sdk = CATALOG.get(sdk_of_module(module))
    rows = [row for row in sdk.methods if name in row.names] if sdk is not None else []
    # Two classes of an SDK may have methods of the same name, for two versions of its API.
    return next((row for row in rows if row.module == module), rows[0] if rows else None)


def is_loaded(name: str) -> bool:
    """Return True if the program has imported what calls models in an SDK."""
    import sys

    sdk = CATALOG[name]
    return (sdk.sign or sdk.modules[0]) in sys.modules
