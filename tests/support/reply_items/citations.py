"""Citations, of every provider."""

from __future__ import annotations

from tests.support.reply_items.form import ALL, TEXT, add, chat, chat_stream
from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import (
    block_events,
    item_events,
    message,
    message_events,
    response,
    response_events,
    said,
    text_block,
)


def _url(start, end, n=1, **more):
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": start,
            "end_index": end,
            "url": f"https://a.example/{n}",
            "title": f"A {n}",
            **more,
        },
    }


def _cited(start=None, end=None, n=1, **more):
    places = {} if start is None else {"start": start, "end": end}
    return {"type": "url", "url": f"https://a.example/{n}", "title": f"A {n}", **places, **more}


chat(
    "url-citation",
    {**TEXT, "annotations": [_url(0, 5), _url(6, 12, 2)]},
    sdks=ALL,
    citations=[_cited(0, 5), _cited(6, 12, 2)],
)
chat(
    "openrouter-citation",
    {**TEXT, "annotations": [_url(0, 5, content="A hat has a brim.")]},
    top={"provider": "Azure"},
    choice={"native_finish_reason": "STOP"},
    citations=[_cited(0, 5, quote="A hat has a brim.")],
    served_by={"provider": "Azure", "native_finish_reason": "STOP"},
)
chat(
    "perplexity",
    TEXT,
    top={
        "citations": ["https://a.example/1", "https://b.example"],
        "search_results": [{"title": "A 1", "url": "https://a.example/1", "date": "2026-01-02", "snippet": "A brim."}],
    },
    citations=[_cited(quote="A brim.", details={"date": "2026-01-02"}), {"type": "url", "url": "https://b.example"}],
)
chat(
    "file-annotation",
    {**TEXT, "annotations": [{"type": "file", "file": {"hash": "h", "name": "hats.pdf"}}]},
    citations=[{"type": "file", "title": "hats.pdf", "details": {"hash": "h"}}],
)
chat(
    "document-citation",
    {
        **TEXT,
        "annotations": [
            {"type": "document_citation", "document_citation": {"document_id": "d", "start_index": 0, "end_index": 2}}
        ],
    },
    sdks=("groq",),
    citations=[{"type": "document", "start": 0, "end": 2, "details": {"document_id": "d"}}],
)
chat_stream(
    "url-citation-stream",
    {"role": "assistant", "content": ""},
    {"content": "It is "},
    {"content": "a hat."},
    {"annotations": [_url(0, 5)]},
    {"annotations": [_url(6, 12, 2)]},
    early={},
    citations=[_cited(0, 5), _cited(6, 12, 2)],
)
_SEARCHED = {"citations": ["https://a.example/1"], "search_results": [{"title": "A 1", "url": "https://a.example/1"}]}
chat_stream(
    "perplexity-stream",
    ({"role": "assistant", "content": "It is "}, _SEARCHED),
    ({"content": "a "}, _SEARCHED),
    ({"content": "hat."}, _SEARCHED),
    early={"citations": [_cited()]},
    citations=[_cited()],
)
_OF_RESPONSE = [
    {"type": "url_citation", "start_index": 0, "end_index": 5, "url": "https://a.example/1", "title": "A 1"},
    {"type": "file_citation", "file_id": "file_1", "filename": "hats.pdf", "index": 3},
    {
        "type": "container_file_citation",
        "container_id": "c",
        "file_id": "file_2",
        "filename": "p.png",
        "start_index": 1,
        "end_index": 4,
    },
    {"type": "file_path", "file_id": "file_3", "index": 0},
    {"type": "new_citation", "page": 7},
]


def _in_one_form(before=0):
    return [
        _cited(before, before + 5),
        {"type": "file", "file_id": "file_1", "title": "hats.pdf", "details": {"index": 3}},
        {
            "type": "file",
            "file_id": "file_2",
            "title": "p.png",
            "start": before + 1,
            "end": before + 4,
            "details": {"container_id": "c"},
        },
        {"type": "file", "file_id": "file_3", "details": {"index": 0}},
        {"type": "new_citation", "details": {"page": 7}},
    ]


def _annotated(text, annotations, **more):
    return {
        **said(text, **more),
        "content": [{"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}],
    }


add(
    value("items-response-citations", "responses", response(_annotated("It is a hat.", _OF_RESPONSE))),
    citations=_in_one_form(),
)
add(
    value(
        "items-response-second-message", "responses", response(said("Wait. "), _annotated("It is a hat.", _OF_RESPONSE))
    ),
    citations=_in_one_form(6),
)


def _annotation_events(index):
    at = {"item_id": "msg_8", "output_index": index, "content_index": 0}
    return [
        {"type": "response.output_text.annotation.added", **at, "annotation_index": n, "annotation": one}
        for n, one in enumerate(_OF_RESPONSE)
    ]


add(
    stream(
        "items-response-citations-stream",
        "responses",
        response_events(
            *item_events(said("Wait. ")),
            *item_events(
                {**_annotated("It is a hat.", _OF_RESPONSE), "id": "msg_8"},
                *_annotation_events(1),
                index=1,
                begun={**said(), "id": "msg_8", "content": []},
            ),
            final=response(said("Wait. "), _annotated("It is a hat.", _OF_RESPONSE)),
        ),
    ),
    {"citations": _in_one_form(6)[:1]},
    citations=_in_one_form(6),
)
add(
    stream(
        "items-response-citations-events-alone",
        "responses",
        response_events(
            *item_events({**said("It is a hat."), "content": None}, *_annotation_events(0)), final=response()
        ),
    ),
    citations=_in_one_form(),
)

_PLACES = [
    {
        "type": "char_location",
        "cited_text": "A brim.",
        "document_index": 0,
        "document_title": "Hats",
        "file_id": None,
        "start_char_index": 3,
        "end_char_index": 9,
    },
    {
        "type": "page_location",
        "cited_text": "A rim.",
        "document_index": 1,
        "document_title": None,
        "file_id": "file_1",
        "start_page_number": 1,
        "end_page_number": 2,
    },
    {
        "type": "web_search_result_location",
        "cited_text": "A brim.",
        "url": "https://a.example/1",
        "title": "A 1",
        "encrypted_index": "Eo8=",
    },
    {
        "type": "search_result_location",
        "cited_text": "A rim.",
        "source": "https://a.example/1",
        "title": "A 1",
        "search_result_index": 0,
        "start_block_index": 0,
        "end_block_index": 0,
    },
]
_IN_ONE_FORM = [
    {
        "type": "document",
        "title": "Hats",
        "quote": "A brim.",
        "start": 6,
        "end": 12,
        "details": {"document_index": 0, "start_char_index": 3, "end_char_index": 9},
    },
    {
        "type": "document",
        "file_id": "file_1",
        "quote": "A rim.",
        "start": 6,
        "end": 12,
        "details": {"document_index": 1, "start_page_number": 1, "end_page_number": 2},
    },
    _cited(6, 12, quote="A brim.", details={"encrypted_index": "Eo8="}),
    {
        **_cited(
            6, 12, quote="A rim.", details={"search_result_index": 0, "start_block_index": 0, "end_block_index": 0}
        ),
        "type": "document",
    },
]
add(
    value(
        "items-message-citations",
        "messages",
        message(
            {"type": "text", "text": "It is "},
            {"type": "text", "text": "a hat.", "citations": _PLACES},
            {"type": "text", "text": " Or not."},
        ),
    ),
    citations=_IN_ONE_FORM,
)
add(
    stream(
        "items-message-citations-stream",
        "messages",
        message_events(
            *text_block(0, "It ", "is "),
            *block_events(
                1,
                {"type": "text", "text": "", "citations": []},
                *({"type": "citations_delta", "citation": one} for one in _PLACES[:2]),
                {"type": "text_delta", "text": "a hat."},
                *({"type": "citations_delta", "citation": one} for one in _PLACES[2:]),
            ),
            *text_block(2, " Or not."),
        ),
    ),
    {"citations": [{**one, "end": 6} for one in _IN_ONE_FORM[:2]]},
    citations=_IN_ONE_FORM,
)
