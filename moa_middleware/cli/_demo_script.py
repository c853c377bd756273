"""
What the models of the demonstration say: a question, three references of which one fails, an answer.

Delays are long enough to be seen and short enough not to bore. No model is asked: it is a script
for `moa_middleware.testing.ScriptedServer`. The names are those of models with a list price, and replies report
tokens, so that the turn ends with a cost.
"""

from __future__ import annotations

from ..testing import Script

__all__ = ["AGGREGATOR", "QUESTION", "REFERENCES", "SCRIPTS"]

QUESTION = "Why is the sky blue?"

REFERENCES = ("gpt-4.1-mini", "claude-haiku-4-5", "gemini-2.5-flash")
AGGREGATOR = "gpt-4.1"

SCRIPTS = {
    "gpt-4.1-mini": Script(
        "Air molecules scatter short waves far more strongly than long ones, so blue light is spread "
        "over the whole sky while red light passes nearly straight through.",
        delay=0.3,
        usage={"prompt_tokens": 14, "completion_tokens": 36},
    ),
    "claude-haiku-4-5": Script(
        "Because of Rayleigh scattering: its strength grows with the fourth power of the frequency. "
        "Violet is scattered more still, but the sun sends less of it and our eyes are less sensitive to it.",
        delay=0.7,
        usage={"prompt_tokens": 15, "completion_tokens": 47},
    ),
    "gemini-2.5-flash": Script(status=503, error={"message": "The model is overloaded, as scripted"}, delay=0.45),
    AGGREGATOR: Script(
        "Sunlight holds all colours. On its way through the air the short, blue waves are scattered in every "
        "direction, many times more than the long, red ones (Rayleigh scattering), so blue light reaches us "
        "from all over the sky. Violet is scattered even more, but there is less of it, and our eyes hardly "
        "see it.",
        delay=0.2,
        usage={"prompt_tokens": 142, "completion_tokens": 68},
        piece_delay=0.015,
    ),
}
