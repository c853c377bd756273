"""Layers of references of which some were declared."""

from __future__ import annotations

import moa_middleware as moa

HELLO = [{"role": "user", "content": "Why is the sky blue?"}]


def test_an_open_layer_beside_a_declared_one_follows_the_data(turns):
    """
    One reference was declared to be of layer 2, another one says nothing and reads an answer of layer 2.

    It is of the layer after that. References that were all asked alike and say nothing are of layer 1.
    """

    @moa.reference(layer=2)
    def declared(messages):
        return "the light of the sun is scattered by the air"

    @moa.reference
    def open_one(messages):
        return "blue is scattered most"

    with moa.turn():
        told = declared(HELLO)
        open_one([*HELLO, {"role": "system", "content": told}])
    with moa.turn():
        open_one(HELLO)
    first, second = turns
    assert [2, 3] == [call["layer"] for call in first["references"]]
    assert [1] == [call["layer"] for call in second["references"]]
