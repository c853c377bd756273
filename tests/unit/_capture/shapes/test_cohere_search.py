"""What searches of Cohere's first version found: documents that a citation names, and the others."""

from __future__ import annotations

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.replies import read_reply

DOCUMENTS = [
    {"id": "web_0", "title": "A", "url": "https://a.example", "snippet": "first"},
    {"id": "web_1", "title": "B", "url": "https://b.example", "snippet": "second"},
    {"id": "own_0", "title": "C", "text": "of the request"},
]
SEARCH = {"search_results": [{"connector": {"id": "web"}, "document_ids": ["web_0", "web_1"]}, {"document_ids": ["x"]}]}
CITATION = {"start": 0, "end": 3, "text": "yes", "document_ids": ["web_1"]}
REPLY = {"text": "yes", "generation_id": "g", "finish_reason": "COMPLETE", "documents": DOCUMENTS, **SEARCH}


def value(reply):
    return read_reply(reply)


def stream(reply):
    """Return the reply of events, which say once more at the end what came before."""
    gathered = Accumulator()
    events = [
        {"event_type": "search-results", "documents": reply["documents"], "search_results": reply["search_results"]},
        {"event_type": "text-generation", "text": "ye"},
        {"event_type": "text-generation", "text": "s"},
        {"event_type": "citation-generation", "citations": reply.get("citations", [])},
        {"event_type": "stream-end", "response": reply, "finish_reason": "COMPLETE"},
    ]
    for event in events:
        gathered.feed(event)
    assert not gathered.unread
    return gathered.reply()


@pytest.mark.parametrize("read", [value, stream])
@pytest.mark.parametrize("citations", [[], [CITATION]], ids=["none cited", "one cited"])
def test_what_a_search_found_is_a_source(read, citations):
    """Each once: with the text that it supports, or without a place."""
    reply = read({**REPLY, "citations": citations})
    found = [(one.get("url"), one.get("start"), one.get("end")) for one in reply.citations]
    cited = [("https://b.example", 0, 3)] if citations else []
    others = ["https://a.example"] if citations else ["https://a.example", "https://b.example"]
    assert found == [*cited, *((url, None, None) for url in others), (None, None, None)]
    assert reply.text == "yes"


@pytest.mark.parametrize("read", [value, stream])
@pytest.mark.parametrize(
    "odd", [None, 5, "x", [None], [5], [{"document_ids": "x"}], [{"document_ids": [None, 5]}]], ids=str
)
def test_odd_results_break_nothing(read, odd):
    """They name no document."""
    reply = read({**REPLY, "search_results": odd})
    assert (reply.text, reply.citations) == ("yes", ())
