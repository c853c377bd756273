"""
What is recorded of each SDK, form by form, as the records of real calls show it.

`python -m tests.support.sdk_table` asks each SDK that is installed in each of its forms, and writes what the records
hold into `tests/golden/sdks.json` and into the table of `docs/how-to/sdks.md`; other SDKs keep what the file has of them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from importlib import import_module
from pathlib import Path
from unittest import mock

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns

from . import sdk_forms
from .providers import SYSTEM, is_installed

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "sdks.json"
PAGE = ROOT / "docs" / "how-to" / "sdks.md"
BEGIN, END = "<!-- table of forms -->\n", "<!-- end of the table -->\n"

PARTS = {
    "prompt": lambda call: call["input_messages"],
    "system": lambda call: [one for one in call["input_messages"] or () if one["role"] == "system"],
    "parameters": lambda call: call["params"],
    "text": lambda call: call["output"],
    "reasoning": lambda call: call["reasoning"],
    "tool calls": lambda call: call["tool_calls"],
    "tokens": lambda call: call["usage"].get("output_tokens"),
    "finish reason": lambda call: call["finish_reason"],
    "id": lambda call: call["response_id"],
    "model": lambda call: call["response_model"],
    "endpoint": lambda call: call["endpoint"],
}
"""What a record may hold, by the words of the table."""

_BEDROCK = {
    "model": "the API names none, and few bodies do",
    "reasoning": "not in the bodies of `invoke_…` that were tried",
    "system": "in the prompt of such a body",
    "tool calls": "not in the bodies of `invoke_…` that were tried",
}
GAPS = {
    **{(sdk, part): why for sdk in ("aiobotocore", "boto3") for part, why in _BEDROCK.items()},
    ("cohere", "model"): "the API names none in its replies",
    ("cohere-v1", "model"): "the API names none in its replies",
    ("cohere-v1", "reasoning"): "version 1 of the API has none",
    ("litellm", "endpoint"): "a function has no client whose URL is known",
    ("ollama", "id"): "the API has none",
    ("ollama", "tool calls"): "`generate` takes no tools",
}
"""Why a part is missing in some forms of an SDK."""

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USAGE = {"prompt_tokens": 7, "completion_tokens": 5}
SCRIPT = Script("One two.", reasoning="Hm.", tool_calls=[CALL], usage=USAGE, usage_always=True)
OLD = ("anthropic", "groq", "openai", "together")
SAMPLING = {"temperature": 0.5}


def name_of(form):
    """Return the name of a form, the same for sync and async."""
    return form.name.replace("async_", "").replace("_async", "")


def _held(turns):
    [turn] = turns
    [call] = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    return [part for part, find in PARTS.items() if find(call)]


def _add(found, form, parts):
    ways = found.setdefault(name_of(form), {})
    ways["async" if form.is_async else "sync"] = parts


def _observe_old(sdk):
    """Return what is recorded of an SDK whose forms are in `sdk_forms`."""
    found = {}
    system = [{"role": "system", "content": SYSTEM}, *sdk_forms.MESSAGES]
    with ScriptedServer({}, default=SCRIPT) as server:
        for form in [one for one in sdk_forms.FORMS if one.sdk == sdk]:
            with (
                mock.patch.dict(sdk_forms.CHAT, {"messages": system, **SAMPLING}),
                mock.patch.dict(sdk_forms.RESPONSE, SAMPLING),
                capture_turns() as turns,
            ):
                sdk_forms.ask(form, moa.instrument(sdk_forms.client_of(sdk, server, is_async=form.is_async)))
                if not turns:
                    gc.collect()
                moa.uninstrument()
            _add(found, form, _held(turns))
    return found


def _observe_litellm():
    """Return what is recorded of litellm's two functions."""
    import litellm

    found = {}
    messages = [{"role": "system", "content": SYSTEM}, *sdk_forms.MESSAGES]
    with ScriptedServer({}, default=SCRIPT) as server:
        for is_async in (False, True):
            for streamed in (False, True):
                given = {"model": "openai/m", "messages": messages, "base_url": server.base_url, "api_key": "k"}
                given |= SAMPLING | ({"stream": True, "stream_options": {"include_usage": True}} if streamed else {})
                litellm.in_memory_llm_clients_cache.flush_cache()
                moa.instrument(litellm)
                with capture_turns() as turns:
                    if is_async:
                        asyncio.run(_litellm_async(given))
                    else:
                        value = litellm.completion(**given)
                        if streamed:
                            [*_] = value
                        del value
                    # Its own threads let go of a stream some time later.
                    for _ in range(100):
                        if turns:
                            break
                        gc.collect()
                        time.sleep(0.05)
                moa.uninstrument()
                way = "async" if is_async else "sync"
                found.setdefault(f"completion_{'stream' if streamed else 'value'}", {})[way] = _held(turns)
    return found


async def _litellm_async(given):
    import litellm

    value = await litellm.acompletion(**given)
    if "stream" in given:
        async for _ in value:
            pass


def _observe_new(title):
    """Return what is recorded of an SDK whose forms are in `providers`."""
    calls = import_module("tests.system.sdks.providers.test_calls")
    _, module, name = calls.NAMES[title]
    provider = getattr(import_module(f"tests.support.providers.{module}"), name)
    found = {}
    for form in provider.forms:
        call, _ = calls.recorded(provider, form, calls.Wire(provider))
        moa.uninstrument()
        _add(found, form, [part for part, find in PARTS.items() if find(call)])
    return found


def installed():
    """Return the SDKs that can be asked here."""
    calls = import_module("tests.system.sdks.providers.test_calls")
    new = [title for title, (sdk, *_) in calls.NAMES.items() if is_installed(sdk)]
    return [*filter(is_installed, (*OLD, "litellm")), *new]


def observe(sdk):
    """Return what is recorded of an SDK: by form, `sync` and `async`, the words of `PARTS`."""
    if sdk == "litellm":
        return _observe_litellm()
    return _observe_old(sdk) if sdk in OLD else _observe_new(sdk)


def table(golden):
    """Return the lines of the table, of forms of which the same is recorded one."""
    lines = ["| SDK | form | world | recorded | missing, and why |", "| --- | --- | --- | --- | --- |"]
    for sdk, forms in sorted(golden.items()):
        rows = {}
        for name, ways in forms.items():
            for way, parts in ways.items():
                rows.setdefault(name, {}).setdefault(tuple(parts), []).append(way)
        grouped = {}
        for name, by_parts in rows.items():
            for parts, ways in by_parts.items():
                grouped.setdefault((", ".join(sorted(ways, reverse=True)), parts), []).append(f"`{name}`")
        for (ways, parts), names in grouped.items():
            gaps = [f"{part}: {GAPS.get((sdk, part), '?')}" for part in PARTS if part not in parts]
            missing = "; ".join(gaps) or "nothing"
            said = "all" if len(parts) == len(PARTS) else ", ".join(parts)
            lines.append(f"| `{sdk}` | {', '.join(names)} | {ways} | {said} | {missing} |")
    return "".join(f"{line}\n" for line in lines)


def page_with(golden):
    """Return the page with this table in place of the one that it has."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table(golden)}{END}{after}"


def main():
    """Write the file and the page."""
    gc.freeze()
    golden = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    golden |= {sdk: observe(sdk) for sdk in installed()}
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(page_with(golden), encoding="utf-8")


if __name__ == "__main__":
    main()
