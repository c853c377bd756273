"""The agent: it prepares a request, may compress it, and asks the aggregator in a thread of its own."""

from __future__ import annotations

import threading

from agent import moa_loop


class AIAgent:
    def __init__(self, *, session_id, model="team", stream=False, compressions=0):
        self.session_id = session_id
        self.stream = stream
        self.compressions = compressions
        self._interrupt_requested = False
        self.client = moa_loop.build_moa_facade(self, model)

    def interrupt(self):
        self._interrupt_requested = True

    def run_conversation(self, user_message, moa_config=None):
        messages = [{"role": "system", "content": "You are an agent."}, {"role": "user", "content": user_message}]
        completions = self.client.chat.completions
        prepared = completions.prepare(messages)
        for number in range(self.compressions):
            shorter = [*messages[:1], {"role": "user", "content": f"{user_message} (compressed {number + 1} times)"}]
            prepared = completions.rebase_prepared_request(prepared, shorter)
        request = {"messages": prepared["messages"], "_moa_prepared_request": prepared}
        if self.stream:
            return {"final_response": self._interruptible_streaming_api_call(request)}
        return {"final_response": self._interruptible_api_call(request).choices[0].message.content}

    def _create_request_openai_client(self, *, reason):
        return self.client

    def _in_a_thread(self, fn):
        found = []

        def run():
            try:
                found.append((fn(), None))
            except BaseException as error:
                found.append((None, error))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        value, error = found[0]
        if error is not None:
            raise error
        return value

    def _interruptible_api_call(self, api_kwargs):
        client = self._create_request_openai_client(reason="request")
        return self._in_a_thread(lambda: client.chat.completions.create(**api_kwargs))

    def _interruptible_streaming_api_call(self, api_kwargs):
        client = self._create_request_openai_client(reason="stream")

        def read():
            stream = client.chat.completions.create(stream=True, **api_kwargs)
            return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

        return self._in_a_thread(read)
