"""
What the models of the demonstration say: a question, three references of which one fails, an answer.

Delays are long enough to be seen and short enough not to bore. No model is asked: it is a script
for `moa_middleware.testing.ScriptedServer`.
"""

from __future__ import annotations

from ..testing import Script

__all__ = ["AGGREGATOR", "QUESTION", "REFERENCES", "SCRIPTS"]

QUESTION = "Why is the sky blue?"

REFERENCES = ("atlas-small", "birch-medium", "cedar-large")
AGGREGATOR = "delta-writer"

SCRIPTS = {
    "atlas-small": Script(
        "Air molecules scatter short waves far more strongly than long ones, so blue light is spread "
        "over the whole sky while red light passes nearly straight through.",
        delay=0.3,
    ),
    "birch-medium": Script(
        "Because of Rayleigh scattering: its strength grows with the fourth power of the frequency. "
        "Violet is scattered more still, but the sun sends less of it and our eyes are less sensitive to it.",
        delay=0.7,
    ),
    "cedar-large": Script(status=503, error={"message": "The model is overloaded, as scripted"}, delay=0.45),
    AGGREGATOR: Script(
        "Sunlight holds all colours. On its way through the air the short, blue waves are scattered in every "
        "direction, many times more than the long, red ones (Rayleigh scattering), so blue light reaches us "
        "from all over the sky. Violet is scattered even more, but there is less of it, and our eyes hardly "
        "see it.",
        delay=0.2,
        piece_delay=0.015,
    ),
}
