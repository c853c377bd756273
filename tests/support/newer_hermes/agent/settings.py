"""The configuration, read from a file each time that it is asked for."""

from __future__ import annotations

import json
import os


def moa():
    """Return the part `moa` of the configuration."""
    with open(os.environ["NEWER_HERMES_CONFIG"]) as file:
        return json.load(file)["moa"]


def runtime():
    """Return where requests go."""
    with open(os.environ["NEWER_HERMES_CONFIG"]) as file:
        found = json.load(file)
    return {"base_url": found["base_url"], "api_key": "sk-canary-of-the-tests-0123456789"}
