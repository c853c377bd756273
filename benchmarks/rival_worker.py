"""
One tracer in a process and an environment of its own; it takes orders from `rivals` and tells what they took.

The SDK is the real one down to `OpenAI.request`, which all of them wrap or call, and whose replies
are ready here. What a tracer does in other threads is waited for within the time that is taken.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import openai

from benchmarks import ready
from benchmarks.measure import Cost, cost_of
from benchmarks.mixture import DRAFTS, MODELS, Mixture, consume

__all__ = ["NAMES"]

NAMES = ("bare", "moa", "langfuse", "openinference")
SHORT, LONG = 200, 10_200
TURN_CHUNKS, TURNS = 500, 10
MESSAGES = ready.messages(8000)


class _Tracer:
    """One that watches nothing; what it writes would be in `path`."""

    version = openai.__version__
    mixture: Any = Mixture

    def __init__(self, path: Path) -> None:
        self.path = path

    def client(self) -> Any:
        return openai.OpenAI(api_key="k")

    def flush(self) -> None:
        """Wait until all is written."""

    def forget(self) -> None:
        if self.path.exists():
            os.truncate(self.path, 0)


class _Moa(_Tracer):
    """As the README shows it: the class is decorated, and the SDK's client is instrumented."""

    def __init__(self, path: Path) -> None:
        os.environ["MOA_SAVE_TRACES"], os.environ["MOA_TRACE_DIR"] = "1", str(path.parent / "moa")
        super().__init__(path.parent / "moa" / "unknown-session.jsonl")
        import moa_middleware as moa
        from benchmarks.turn import decorated

        self.moa, self.version = moa, moa.__version__
        self.mixture = decorated(moa)

    def client(self) -> Any:
        return self.moa.instrument(super().client())


class _File:
    """OpenTelemetry's own exporter of lines, appending to a file."""

    def __init__(self, path: Path) -> None:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        self.exporter: Any = ConsoleSpanExporter(
            out=path.open("a", encoding="utf-8"), formatter=lambda span: span.to_json(indent=None) + "\n"
        )


class _Langfuse(_Tracer):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        from langfuse import Langfuse

        exporter = _File(path).exporter
        keys = {"public_key": "pk", "secret_key": "sk"}
        self.langfuse = Langfuse(**keys, base_url="http://localhost:9", span_exporter=exporter)
        self.version = importlib.metadata.version("langfuse")

    def client(self) -> Any:
        from langfuse.openai import OpenAI

        return OpenAI(api_key="k")

    def flush(self) -> None:
        from opentelemetry import trace

        trace.get_tracer_provider().force_flush()


class _OpenInference(_Tracer):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        from openinference.instrumentation.openai import OpenAIInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.provider = TracerProvider()
        self.provider.add_span_processor(BatchSpanProcessor(_File(path).exporter))
        OpenAIInstrumentor().instrument(tracer_provider=self.provider)
        self.version = importlib.metadata.version("openinference-instrumentation-openai")

    def flush(self) -> None:
        self.provider.force_flush()


def answer_at_once() -> None:
    """Put ready-made replies in place of the SDK's requests, before anybody wraps them."""
    chunks = {str(count): ready.openai_chunks(count) for count in (SHORT, LONG, TURN_CHUNKS)}
    replies = {model: ready.reply(text) for model, text in DRAFTS.items()}

    def request(_client: Any, _cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        model = options.json_data["model"]
        return ready.ready_stream(chunks.get(model, chunks[str(TURN_CHUNKS)])) if stream else replies[model]

    openai.OpenAI.request = request  # type: ignore[method-assign,assignment]


class Worker:
    """Runs what it is told, and compares what was written with what was said."""

    def __init__(self, name: str, path: Path) -> None:
        answer_at_once()
        kinds = dict(zip(NAMES, (_Tracer, _Moa, _Langfuse, _OpenInference), strict=True))
        self.bare = name == NAMES[0]
        self.tracer = kinds[name](path)
        self.sdk = self.tracer.client()
        self.mixture = self.tracer.mixture(self.sdk, ThreadPoolExecutor(len(MODELS)))

    def timed(self, run: Any, *texts: str) -> Cost:
        self.tracer.forget()

        def whole() -> None:
            run()
            self.tracer.flush()

        cost = cost_of(whole)
        written = "" if self.bare else self.tracer.path.read_text(encoding="utf-8")
        if not self.bare and not all(text in written for text in texts):
            msg = "text was lost"
            raise AssertionError(msg)
        return cost

    def stream(self, count: int) -> None:
        for _ in self.sdk.chat.completions.create(model=str(count), messages=MESSAGES, stream=True):
            pass

    def chunks(self) -> Cost:
        """Return what a chunk takes."""
        short, long = (self.timed(partial(self.stream, count), ready.text_of(count)) for count in (SHORT, LONG))
        return long.less(short).per(LONG - SHORT)

    def turn(self) -> Cost:
        """Return what a turn takes."""
        texts = [ready.text_of(TURN_CHUNKS), *DRAFTS.values()]
        return self.timed(partial(consume, self.mixture, MESSAGES, TURNS), *texts).per(TURNS)

    def call(self) -> Cost:
        """Return what a call takes that is answered in one piece."""

        def run() -> None:
            for _ in range(20):
                self.sdk.chat.completions.create(model=MODELS[0], messages=MESSAGES)

        return self.timed(run, DRAFTS[MODELS[0]]).per(20)


def main() -> None:
    name, directory = sys.argv[1:]
    worker = Worker(name, Path(directory, f"{name}.jsonl"))
    print(json.dumps(worker.tracer.version), flush=True)
    for line in sys.stdin:
        print(json.dumps(getattr(worker, line.strip())()), flush=True)


if __name__ == "__main__":
    main()
