"""An SDK that is named is not imported, and its classes are instrumented when the program imports them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.providers import TEXT, is_installed, taken

CLASSES = {
    "google-genai": ("google.genai", "google.genai.models:Models.generate_content"),
    "mistralai": ("mistralai", "mistralai.client.chat:Chat.complete"),
    "huggingface_hub": ("huggingface_hub", "huggingface_hub.inference._client:InferenceClient.chat_completion"),
    "ollama": ("ollama", "ollama._client:Client.chat"),
}
SCRIPT = """
import importlib, os, sys
import moa_middleware as moa

package, place = sys.argv[1:]
moa.instrument(os.environ["MOA_INSTRUMENT"])
assert package not in sys.modules, package
module, _, path = place.partition(":")
kind, _, method = path.partition(".")
cls = getattr(importlib.import_module(module), kind)
assert hasattr(vars(cls)[method], "__wrapped__"), place
moa.uninstrument()
assert not hasattr(vars(cls)[method], "__wrapped__"), place
"""


@pytest.mark.parametrize("name", CLASSES)
def test_an_sdk_that_is_named_is_not_imported(name):
    """`MOA_INSTRUMENT` may name SDKs that the program needs later, or never."""
    package, place = CLASSES[name]
    if not is_installed(package):
        pytest.skip(f"{name} is not installed (it needs an environment of its own)")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, package, place],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MOA_INSTRUMENT": name},
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["gemini", "mistral", "huggingface", "ollama"])
def test_the_class_of_a_client_is_instrumented(name):
    """Each client that is made of it from then on."""
    provider = import_module(f"tests.support.providers.{name}").PROVIDER
    if not is_installed(provider.sdk):
        pytest.skip(f"{provider.sdk} is not installed (it needs an environment of its own)")
    form = next(form for form in provider.forms if not form.is_async and not form.name.startswith("module_"))
    with provider.connect(provider.answer) as client:
        moa.instrument(type(client))
    with provider.connect(provider.answer) as client, capture_turns() as turns:
        _, said = taken(form, client)
    assert [turn["output"] for turn in turns] == [said] == [TEXT]
