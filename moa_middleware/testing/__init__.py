"""
What users need in their own tests: a scripted server, and the turns of a block.

    from moa_middleware.testing import Script, ScriptedServer, capture_turns
"""

from ._capture import capture_turns
from .server import Received, Script, ScriptedServer, ScriptLike, Sent

__all__ = ["Received", "Script", "ScriptLike", "ScriptedServer", "Sent", "capture_turns"]
