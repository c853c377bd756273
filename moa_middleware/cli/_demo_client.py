"""
A Mixture-of-Agents client, as a user of this library would write it: the example behind `moa demo`.

Three decorators and nothing else are the library's. Everything below must read as a program of your
own: it knows no trace, no terminal and no command line.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import openai

import moa_middleware as moa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

__all__ = ["DemoClient"]

_TASK = "Other models proposed the answers below. Weigh them, and write the one best answer to the question."


@moa.client
class DemoClient:
    """
    Ask several models at once, and let one more write the answer from what they said.

    Args:
        sdk: The OpenAI client, instrumented: `moa.instrument(openai.OpenAI())`.
        references: Models that propose.
        aggregator: The model that answers.
    """

    def __init__(self, sdk: openai.OpenAI, references: Sequence[str], aggregator: str) -> None:
        self.sdk = sdk
        self.references = references
        self.aggregator = aggregator

    @moa.reference
    def ask(self, model: str, messages: list[ChatCompletionMessageParam]) -> ChatCompletion:
        """Ask one model."""
        return self.sdk.chat.completions.create(model=model, messages=messages)

    @moa.aggregator
    def synthesize(self, messages: list[ChatCompletionMessageParam]) -> openai.Stream[ChatCompletionChunk]:
        """Ask for the answer, as a stream."""
        create = self.sdk.chat.completions.create
        try:
            return create(model=self.aggregator, messages=messages, stream=True, stream_options={"include_usage": True})
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            # Some endpoints refuse to count the tokens of a stream.
            return create(model=self.aggregator, messages=messages, stream=True)

    def create(self, messages: list[ChatCompletionMessageParam]) -> openai.Stream[ChatCompletionChunk]:
        """Run the turn, and return the answer as a stream."""
        pool = ThreadPoolExecutor(max_workers=len(self.references))
        try:
            asked = [pool.submit(self.ask, model, messages) for model in self.references]
            answers = []
            for future in asked:
                try:
                    answers.append(future.result().choices[0].message.content or "")
                except Exception:  # noqa: S112 - the trace has it
                    continue  # one model that fails, however it does, must not cost the answer
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C need not wait for a slow model
        proposals = "\n\n".join(f"{number}. {answer}" for number, answer in enumerate(answers, 1))
        return self.synthesize([{"role": "system", "content": f"{_TASK}\n\n{proposals}"}, *messages])
