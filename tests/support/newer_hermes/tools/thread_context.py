"""How work gets into a thread with the context of the code that submits it."""

from __future__ import annotations

import contextvars


def propagate_context_to_thread(target):
    """Return a function that runs `target` in a copy of the context that is here now."""
    context = contextvars.copy_context()

    def run(*args, **kwargs):
        return context.run(target, *args, **kwargs)

    return run
