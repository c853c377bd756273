"""Fidelity and overlap: texts whose truth is known."""

from __future__ import annotations

import random
import time

import pytest

from moa_middleware import read
from moa_middleware.read import TurnView

WORDS = [f"word{n}" for n in range(5000)]
CHINESE = "天空为什么是蓝色的因为空气中的分子把短波长的光散射得比长波长的光多得多所以我们看到的天空是蓝色的而日落时光线穿过更厚的大气层蓝光被散射掉剩下红光"


def text(rng, count):
    return " ".join(rng.choice(WORDS) for _ in range(count))


def turn_of(told, outputs, *, asked="Why is the sky blue?", answer="", **changes):
    """Return a turn whose aggregator got a text; each reference is an output, or the keys of a call."""
    references = []
    for number, output in enumerate(outputs):
        own = output if isinstance(output, dict) else {"output": output}
        prompt = [{"role": "user", "content": asked}]
        references.append(
            {"call_id": f"r{number}", "label": f"r{number}", "outcome": "completed", "input_messages": prompt, **own}
        )
    prompt = [{"role": "user", "content": asked}, {"role": "system", "content": told}]
    aggregator = {"call_id": "a", "outcome": "completed", "input_messages": prompt, "output": answer}
    return TurnView({"turn_id": "t", "references": references, "aggregator": aggregator, "output": answer, **changes})


def standing(told, output, **kwargs):
    (found,) = turn_of(told, [output], **kwargs).fidelity()
    return str(found)


# Fidelity ------------------------------------------------------------------------------------------


@pytest.fixture(params=["words", "chinese"])
def output(request):
    """Return a text of some length."""
    rng = random.Random(7)
    return text(rng, 200) if request.param == "words" else "".join(rng.sample(CHINESE * 9, 400))


def test_a_whole_output_is_verbatim(output):
    """Wherever it stands; white space at its ends does not count."""
    assert "verbatim" == standing(f"Model 1 said:\n{output}\nModel 2 said: no.", output)
    assert "verbatim" == standing(output, f"\n {output}\n\n")
    assert "verbatim" == standing(output, output)


@pytest.mark.parametrize("mark", ["", "…", "...", " [cut here]", "\n\nModel 2 said: nothing of it at all."])
def test_a_beginning_is_truncated_at_its_length(output, mark):
    """In characters of the output; what was put behind it does not count."""
    for kept in (40, 137, len(output) - 30):
        expected = len(output[:kept].rstrip())
        assert f"truncated@{expected:,}" == standing(f"He said: {output[:kept].rstrip()}{mark}", output)
        assert f"truncated@{expected + 2:,}" == standing(f"He said: {output[:kept].rstrip()}{mark}", f"\n\n{output}")


def test_a_changed_text_is_altered(output):
    """In the middle, at its begin, by its case, by its white space, or by halves."""
    half = len(output) // 2
    assert "altered" == standing(output[:half] + " something else " + output[half + 8 :], output)
    assert "altered" == standing("Something else" + output[30:], output)
    assert "altered" == standing(output[half:], output)
    if output.isascii():
        assert "altered" == standing(output.upper(), output)
        assert "altered" == standing(output.replace(" ", "\n"), output)


def test_a_text_that_is_not_there_is_absent(output):
    """Nor is one that begins as another does, or that repeats the question."""
    assert "absent" == standing("nobody said anything", output)
    assert "absent" == standing("", output)
    rng = random.Random(8)
    other = text(rng, 200)
    assert "absent" == standing(f"{output[:12]}{other}", output)
    asked = "Please tell me at length why the sky above us is blue and not green or red."
    assert "absent" == standing("nobody said anything", asked, asked=asked)


def test_the_question_is_no_evidence():
    """A reference may answer with a word of its prompt."""
    assert "absent" == standing("Sources: none.", "Yes", asked="Answer Yes or No.")
    assert "verbatim" == standing("One said: Yes", "Yes", asked="Answer Yes or No.")


def test_prompts_of_every_form_are_read():
    """A text, parts, tool results, nested lists; texts do not run across two of them."""
    output = "the light is scattered by the air around us"
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": output}]
    for prompt in (
        output,
        [{"role": "user", "content": output}],
        [{"role": "user", "content": parts}],
        [{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": output}]}],
        [{"type": "function_call_output", "output": output}],
        {"prompt": output},
    ):
        turn = turn_of("", [output])
        turn.as_dict()["aggregator"]["input_messages"] = prompt
        assert "verbatim" == str(turn.fidelity()[0])
    halves = [{"role": "user", "content": output[:21]}, {"role": "user", "content": output[21:]}]
    turn.as_dict()["aggregator"]["input_messages"] = halves
    assert "altered" == str(turn.fidelity()[0])


def test_what_cannot_be_told_is_said():
    """With the reason, and never as absent."""
    said = "an answer of some length, as they are"
    failed = {"outcome": "error", "output": None}
    late = {"outcome": "completed", "late": True, "output": said}
    running = {"outcome": None, "output": None}
    silent = {"outcome": "completed", "output": "  "}
    withheld = {"outcome": "completed", "output": None, "omitted": {"output": {"reason": "metadata", "bytes": 5}}}
    turn = turn_of("something", [failed, late, running, silent, withheld, said])
    whys = ["failed", "late", "late", "no output", "withheld", None]
    assert whys == [one.reason for one in turn.fidelity()]
    assert [None] * 5 + ["absent"] == [one.status for one in turn.fidelity()]
    assert "unknown (failed)" == str(turn.fidelity()[0])
    assert ["no aggregator"] == [one.reason for one in turn_of("", [said], aggregator=None).fidelity()]
    turn = turn_of("", [said])
    turn.as_dict()["aggregator"]["omitted"] = {"input_messages.0.content": {"reason": "limit", "bytes": 9}}
    assert ["withheld"] == [one.reason for one in turn.fidelity()]
    assert () == turn_of("", []).fidelity()


# Overlap -------------------------------------------------------------------------------------------


def test_overlap_of_known_truth():
    """Of 550 words 200 are A's, 300 B's, 100 of these both's, 50 C's, and 100 nobody's."""
    rng = random.Random(3)
    words = rng.sample(WORDS, 3000)
    both, only_a, only_b, only_c, new = (words[:100], words[100:200], words[200:400], words[400:450], words[450:550])
    rest = iter(words[600:])
    filler = lambda count: [next(rest) for _ in range(count)]  # noqa: E731
    a = [*filler(30), *both, *filler(20), *only_a]
    b = [*only_b, *filler(40), *both, *filler(5)]
    c = [*filler(60), *only_c]
    answer = [*both, *only_a, *new[:50], *only_b, *only_c, *new[50:]]
    found = turn_of("", [" ".join(one) for one in (a, b, c)], answer=" ".join(answer)).overlap()
    assert (550, "words", 5) == (found.total, found.unit, found.size)
    assert [200 / 550, 300 / 550, 50 / 550] == pytest.approx(list(found.covered))
    assert [100 / 550, 200 / 550, 50 / 550] == pytest.approx(list(found.unique))
    assert (100 / 550, 100 / 550) == pytest.approx((found.shared, found.novel))
    assert ((0, 200),) == found.spans[0]
    assert ((0, 100), (250, 450)) == found.spans[1]


def test_the_parts_sum_to_one():
    """Unique parts, what is shared, and what is new."""
    rng = random.Random(5)
    small = WORDS[:12]
    for _ in range(50):
        texts = [" ".join(rng.choices(small, k=rng.randint(0, 60))) for _ in range(3)]
        found = read.overlap_of(" ".join(rng.choices(small, k=40)), texts)
        parts = [part or 0.0 for part in found.unique]
        assert 1 == pytest.approx(sum(parts) + found.shared + found.novel)


def test_case_and_punctuation_do_not_count():
    """And a run of four words is chance."""
    said = "The sky IS blue, because air scatters short waves."
    assert (1.0,) == read.overlap_of("the sky is blue because air scatters short waves", [said]).covered
    assert (0.0,) == read.overlap_of("they say the sky is blue and so on", [said]).covered


def test_overlap_in_chinese():
    """Characters are counted where words are not spaced."""
    half = len(CHINESE) // 2
    found = read.overlap_of(CHINESE, [CHINESE[:half], "完全不同的文字在这里没有任何共同的地方可以找到", None])
    assert ("characters", 10, len(CHINESE)) == (found.unit, found.size, found.total)
    assert (half / len(CHINESE), 0.0, None) == found.covered
    assert (half / len(CHINESE), 0.0, None) == found.unique
    assert found.novel == pytest.approx(1 - half / len(CHINESE))
    assert "characters" == read.overlap_of("空が青いのはなぜですか。光が散乱するからです。", []).unit
    assert "characters" == read.overlap_of("ท้องฟ้าเป็นสีฟ้าเพราะแสงกระเจิง", []).unit
    assert "words" == read.overlap_of("하늘은 왜 파란가요 빛이 흩어지기 때문입니다", []).unit


def test_failed_references_overlap_with_nothing_that_is_known():
    """`None`, not 0; a short answer is one run."""
    failed = {"outcome": "error", "output": "half a sentence"}
    found = turn_of("", [failed, "Yes!", {"output": ""}], answer="yes").overlap()
    assert (None, 1.0, None) == found.covered
    assert (1, 1, ((0, 1),)) == (found.size, found.total, found.spans[1])
    empty = turn_of("", ["Yes!"], answer="").overlap()
    assert ((None,), None, None, 0) == (empty.covered, empty.novel, empty.shared, empty.total)


@pytest.mark.parametrize("language", ["words", "chinese"])
def test_references_of_150_kb_are_fast(language, capsys):
    """Five of them beside an answer of 115 kB; the bound is far above what it takes, for busy machines."""
    rng = random.Random(9)
    if language == "words":
        texts = [text(rng, 18_000)[:150_000] for _ in range(5)]
    else:
        texts = ["".join(rng.choices(CHINESE, k=50_000)) for _ in range(5)]
    assert all(140_000 <= len(one.encode()) <= 170_000 for one in texts)
    answer = texts[0][:12_000] + texts[1][5000:20_000] + texts[4][-9000:]
    told = "\n\n".join(
        [texts[0], texts[1][: len(texts[1]) // 2] + "…", texts[2][:20_000] + "no" + texts[2][20_300:], texts[4]]
    )
    turn = turn_of(told, texts, answer=answer)
    began = time.process_time()
    standings = [one.status for one in turn.fidelity()]
    middle = time.process_time()
    overlap = turn.overlap()
    ended = time.process_time()
    assert ["verbatim", "truncated", "altered", "absent", "verbatim"] == standings
    assert overlap.covered[0] >= 12_000 / len(answer) - 0.1
    with capsys.disabled():
        print(f"\n  {language}: fidelity {middle - began:.3f} s, overlap {ended - middle:.3f} s of CPU time")
    assert ended - began < 5


QUESTIONS = [
    (None, ""),
    ([], ""),
    ("Why?", "Why?"),
    (
        [
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "x"},
            {"role": "user", "content": "Two?"},
        ],
        "Two?",
    ),
    ([{"role": "system", "content": "Be short."}], "Be short."),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:x"}},
                ],
            }
        ],
        "What is this?\n[image_url]",
    ),
    ([{"role": "user", "content": None}], ""),
    (["a", "b"], "b"),
    ([{"type": "function_call_output", "output": "37"}], "[function_call_output]"),
]


@pytest.mark.parametrize(("prompt", "question"), QUESTIONS, ids=range(len(QUESTIONS)))
def test_the_question_is_the_users_last_message(prompt, question):
    """What is not text is named, never shown as its data; the first call's prompt stands for a missing one."""
    assert question == TurnView({"input_messages": prompt}).question
    assert question == TurnView({"references": [{"input_messages": prompt}]}).question


def test_a_content_that_is_nested_too_deeply_has_an_end():
    """A hostile line cannot exhaust the stack."""
    deep = "x"
    for _ in range(500):
        deep = [deep]
    assert "[nested too deeply]" == read.content_text(deep)


def test_the_answer_is_the_turns_or_the_aggregators():
    """One place decides what overlap, list and page take for the answer."""
    aggregator = {"output": "of the aggregator"}
    assert "of the turn" == TurnView({"output": "of the turn", "aggregator": aggregator}).answer
    assert "of the aggregator" == TurnView({"output": None, "aggregator": aggregator}).answer
    assert "" == TurnView({}).answer


def test_similarities_are_of_pairs_of_words():
    """Two of three pairs each are shared; a text is like itself, and a missing one like nothing."""
    found = read.similarities(["the cat sat down", "the cat sat up", None])
    assert [[1.0, 2 / 3, None], [2 / 3, 1.0, None], [None, None, None]] == found
