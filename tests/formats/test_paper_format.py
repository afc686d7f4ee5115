"""The paper's records: to Book and Generations and back, and what is wrong with them."""

import contextlib
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.books.build_book import paper_records
from pytest_memleak.errors import RecordsError
from pytest_memleak.formats import paper_format as paper
from pytest_memleak.formats.paper_format import (
    book_from_records,
    generations_from_records,
    load_records,
    with_recorded_instructions,
)
from pytest_memleak.records import Excerpt, FinishReason, Generation
from pytest_memleak.records.book import book_digest
from pytest_memleak.records.generation import finish_reason_from_word


def excerpt(excerpt_id, text="Some text.", **more):
    return {"excerpt_id": excerpt_id, "excerpt_text": text} | more


def answered(excerpt_id, *texts, **more):
    return {
        "excerpt_id": excerpt_id,
        "generations": [{"generated_text": t} for t in texts],
    } | more


def line(excerpt_id, text, **more):
    return {"excerpt_id": excerpt_id, "generated_text": text} | more


def test_a_book_takes_everything_the_records_say():
    names = {
        "book_name": "T",
        "author_name": "A",
        "chapter": "I",
        "word_count": 1,
        "detail": "one",
    }
    first = excerpt("p_id1", "First.", instruction="Write one.", **names)
    book = book_from_records(
        [first, excerpt("p_id2", "Second.", instruction="Write two.")]
    )
    assert (book.id, book.title, book.author) == ("T", "T", "A")
    one, two = book.excerpts
    assert one == Excerpt("p_id1", "First.", "Write one.", "I")
    assert two == Excerpt("p_id2", "Second.", "Write two.", None)
    assert book.digest == book_digest(book.excerpts)


def test_a_book_leaves_unknown_what_records_omit():
    for keys in ({}, {"book_name": "", "author_name": None, "instruction": ""}):
        book = book_from_records([excerpt("p_id1", **keys)])
        assert (book.id, book.title, book.author) == ("untitled", "", "")
        assert book.excerpts[0].instruction is None
    assert (
        book_from_records([excerpt("p_id1", book_name="T")], book_id="mine").id
        == "mine"
    )


@pytest.mark.parametrize(("ids", "ordered"), [
    (["p_id10", "p_id9", "p_id1"], ["p_id1", "p_id9", "p_id10"]),
    ([10, "p_id9", 1], ["1", "p_id9", "10"]),
    (["b2_a9", "b10_a1", "b1_a3"], ["b1_a3", "b2_a9", "b10_a1"]),
    (["x1b", "x1a", "x0"], ["x0", "x1b", "x1a"]),  # equals stay as they stood
    (["p007", "p_0008", "6"], ["6", "p007", "p_0008"]),
    (["p٣", "p2"], ["p2", "p٣"]),  # int() reads every script's digits
    (["p" + "9" * 63, "p1"], ["p1", "p" + "9" * 63]),
])  # fmt: skip
def test_excerpts_order_by_the_first_integer_of_their_ids(ids, ordered):
    book = book_from_records([excerpt(name) for name in ids])
    assert [excerpt.id for excerpt in book.excerpts] == ordered
    generations = generations_from_records([answered(name, "x") for name in ids])
    assert [generation.excerpt_id for generation in generations] == ordered


TEXT = st.text(min_size=1, max_size=20)
ROWS = st.lists(
    st.tuples(st.integers(0, 999), TEXT, st.none() | TEXT),
    min_size=1,
    unique_by=lambda row: row[0],
)


@given(ROWS, TEXT, TEXT)
def test_records_to_a_book_and_back_are_the_same(rows, title, author):
    rows = sorted(rows, key=lambda row: row[0])
    records = [
        excerpt(
            f"p_id{n}",
            text,
            instruction=requested or "",
            author_name=author,
            book_name=title,
        )
        for n, text, requested in rows
    ]
    book = book_from_records(records)
    written = json.loads(json.dumps(paper_records(book)))
    assert [{key: row[key] for key in records[0]} for row in written] == records
    assert book_from_records(written) == book


@given(ROWS)
def test_the_digest_tells_books_apart(rows):
    excerpts = [Excerpt(str(n), text, requested) for n, text, requested in rows]
    one = book_digest(excerpts)
    assert one == book_digest(list(excerpts))
    assert one != book_digest([*excerpts[:-1], Excerpt("1000", "x")])
    first = excerpts[0]
    moved = Excerpt(first.id + first.text[0], first.text[1:], first.instruction)
    assert one != book_digest([moved, *excerpts[1:]])


def test_generations_are_rounds_of_their_excerpt():
    generations = generations_from_records(
        [answered("p2", "c"), answered("p1", "a", "b"), answered(3)]
    )
    assert generations == [
        Generation(excerpt_id, ordinal, text, FinishReason.UNSTATED)
        for excerpt_id, ordinal, text in (
            ("p1", 0, "a"),
            ("p1", 1, "b"),
            ("p2", 0, "c"),
        )
    ]
    # So are lines, in the order they stand.
    lines = [line("p2", "a"), line("p1", "b"), line("p2", "c"), line("p1", "d")]
    rounds = [
        (one.excerpt_id, one.ordinal, one.text)
        for one in generations_from_records(lines)
    ]
    assert rounds == [("p1", 0, "b"), ("p1", 1, "d"), ("p2", 0, "a"), ("p2", 1, "c")]
    # A record with both forms has its generations in the list.
    (one,) = generations_from_records(
        [line("p1", "old", generations=[{"generated_text": "n"}])]
    )
    assert one == Generation("p1", 0, "n", FinishReason.UNSTATED)


def test_a_finish_reason_is_kept_as_it_was_said():
    assert (
        finish_reason_from_word(None)
        is finish_reason_from_word("")
        is FinishReason.UNKNOWN
    )
    for reason in FinishReason:
        (one,) = generations_from_records(
            [line("p1", "text", finish_reason=reason.value)]
        )
        assert one.finish_reason is reason
    story = "it was a dark and stormy night " * 3
    for word in ("guardrail_intervened", story):
        (one,) = generations_from_records([line("p1", "text", finish_reason=word)])
        assert one.finish_reason is FinishReason.UNKNOWN
        assert (
            one.finish_word == word
            if word is not story
            else len(one.finish_word) < len(story)
        )


WORDS = {
    FinishReason.STOP: "stop STOP end_turn eos eos_token stop_sequence COMPLETE",
    FinishReason.LENGTH: "length max_tokens MAX_TOKENS max_output_tokens model_length CONTINUATION",
    FinishReason.CONTENT_FILTER: "content_filter content_filtered content-filter SAFETY SPII",
    FinishReason.RECITATION: "recitation RECITATION blocked_for_recitation",
    FinishReason.REFUSAL: "refusal",
    FinishReason.UNKNOWN: "guardrail_intervened tool_calls null stopped lengthy error",
}
EVERY = [(word, reason) for reason, words in WORDS.items() for word in words.split()]


@pytest.mark.parametrize(("word", "reason"), EVERY)
def test_a_word_means_the_same_from_a_server_and_in_a_file(word, reason):
    assert finish_reason_from_word(word) is reason
    answers = [{"generated_text": "Some words.", "finish_reason": word}]
    (recorded,) = generations_from_records(
        [{"excerpt_id": "p_id1", "generations": answers}]
    )
    assert (recorded.finish_reason, recorded.finish_word) == (reason, word)


def test_the_turns_of_a_chat_that_hold_prompt_and_answer_are_read():
    turns = [
        {"role": role, "content": "x y " * 20} for role in ("user", "tool", "assistant")
    ]
    turns[1]["content"] = "prompts may differ " * 20
    assert generations_from_records([line("p1", "x y " * 20, messages=turns)])
    assert generations_from_records([answered("p1", "x y " * 20, messages=turns)])
    asked = "what was asked " * 20
    turns = [
        asked,
        {"role": "User", "content": asked},
        {"from": "human", "value": asked},
    ]
    own = {
        "generated_text": "x",
        "prompt": asked,
        "excerpt_text": asked,
        "messages": turns,
    }
    one = {"excerpt_id": "p1", "generations": [own]}
    assert generations_from_records([one, line("p2", "x", messages=turns)])


@pytest.mark.parametrize("blank", ["", " \n\t"])
@pytest.mark.parametrize(("word", "kept"), [
    (None, FinishReason.UNKNOWN), ("stop", FinishReason.EMPTY), ("length", FinishReason.EMPTY),
    ("empty", FinishReason.EMPTY), ("refusal", FinishReason.REFUSAL),
    ("content_filter", FinishReason.CONTENT_FILTER),
])  # fmt: skip
def test_a_blank_text_is_empty_whatever_is_said_of_its_end(blank, word, kept):
    (one,) = generations_from_records([line("p1", blank, finish_reason=word)])
    assert one.finish_reason is kept
    assert one.finish_reason.withheld


NO_BOOK = [
    ("text", "book: expected a list of records, found a string"),
    ([], "book: there are no excerpts\n  a book needs at least one"),
    ([excerpt("p1"), None], "book, record 1: expected an object, found null"),
    ([{"excerpt_text": "a"}], "book, record 0: there is no excerpt_id"),
    ([excerpt(None)], "book, record 0: excerpt_id is null; expected a string such as 'p_id1'"),
    ([excerpt(True)], "book, record 0: excerpt_id is a boolean; expected a string such*"),
    ([excerpt("")], "book, record 0: excerpt_id is a string; expected a string such*"),
    ([excerpt("p²")], "book, record 0: excerpt_id 'p²' has no number to order it by\n*"),
    ([excerpt("p" + "9" * 5000)], "book, record 0: excerpt_id has 5,001 characters; *"),
    ([excerpt("1 " + "of " * 12)], "book, record 0: excerpt_id has 38 characters; *"),
    ([excerpt("1" + "事" * 22)], "book, record 0: excerpt_id has 23 characters; *"),
    ([excerpt("1"), excerpt(1)], "book, record 1: the excerpt_id '1' occurs twice\n*"),
    ([{"excerpt_id": "p1"}], "book, record 0: there is no excerpt_text"),
    ([excerpt("p1", ["a"])], "book, record 0: excerpt_text is a list; expected a string"),
    ([excerpt("p1", instruction=5)], "book, record 0: instruction is a number; expected*"),
]  # fmt: skip
NO_GENERATIONS = [
    ({"p1": []}, "drawn: expected a list of records, found an object"),
    ([{"excerpt_id": "p1"}], "drawn, record 0: there are no generations\n*"),
    ([{"excerpt_id": "p1", "generations": "text"}],
     "drawn, record 0: generations is a string; expected a list\n*"),
    ([{"excerpt_id": "p1", "generations": [7]}],
     "drawn, record 0, generation 0: expected an object, found a number"),
    ([{"excerpt_id": "p1", "generations": [{"generated_text": "a"}, {}]}],
     "drawn, record 0, generation 1: there is no generated_text"),
    ([line("p1", "a"), line("p1", 5)], "drawn, record 1, generation 1: generated_text is*"),
    ([answered("p1"), line("p1", "a")], "drawn, record 1: the excerpt_id 'p1' occurs twice*"),
    ([line("p1", "a"), answered("p1")], "drawn, record 1: the excerpt_id 'p1' occurs twice*"),
    ([line("p1", "a", instruction=["x"])], "drawn, record 0: instruction is a list; *"),
    ([line("p1", "a", finish_reason=["stop"])],
     "drawn, record 0, generation 0: finish_reason is a list; expected a string*"),
    *(([answered("p1", "a", **{name: "x y " * 20})],
       f"drawn, record 0: '{name}' holds a text of 40 words, which wouldn't be "
       "measured*")
      for name in ("reasoning", "output", "generated_text")),
    *(([line("p1", "a", messages=messages)],
       "drawn, record 0, generation 0: 'messages' holds a text of 40 words*")
      for turn in [{"content": "x y " * 20}]
      for messages in (
          *({"turn": turn}, [turn], [turn | {"role": "ai"}], [turn | {"from": "gpt"}]), "x y " * 20,
      )),
    *(([{"excerpt_id": "p1", "generations": [{"generated_text": "a", name: "x y " * 20}]}],
       f"drawn, record 0, generation 0: '{name}' holds a text of 40 words*")
      for name in ("chapter", "detail", "author_name")),
]  # fmt: skip


@pytest.mark.parametrize(("records", "message"), NO_BOOK + NO_GENERATIONS)
def test_records_of_another_form_are_an_error_that_says_where(records, message):
    place = re.match(r"\w+", message)[0]
    read = {"book": book_from_records, "drawn": generations_from_records}[place]
    with pytest.raises(RecordsError) as caught:
        read(records, place=place)
    assert str(caught.value).startswith(message.removesuffix("*"))
    assert message.endswith("*") or str(caught.value) == message


def test_recorded_instructions_replace_the_books_and_change_its_digest():
    book = book_from_records(
        [excerpt("1", instruction="a"), excerpt("2", instruction="b")]
    )
    requested = with_recorded_instructions(
        book, [answered(2, "x", instruction="asked"), answered("1")]
    )
    assert [excerpt.instruction for excerpt in requested.excerpts] == ["a", "asked"]
    assert requested.digest == book_digest(requested.excerpts) != book.digest
    assert (requested.id, requested.title) == (book.id, book.title)
    for unsaid in (
        [],
        None,
        [7],
        [answered(1)],
        [answered(1, instruction="")],
        [{"x": 1}],
    ):
        assert with_recorded_instructions(book, unsaid) is book


RECORDS = [answered("p_id1", "café “quoted” 漢字"), answered("p_id2", "")]


@pytest.mark.parametrize(
    "to", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_json_may_be_in_any_form_of_unicode(tmp_path, to):
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps(RECORDS, ensure_ascii=False).encode(to))
    assert load_records(path) == RECORDS


@pytest.mark.parametrize("name", ["x.jsonl", "x.JSONL"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n \n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_jsonl_is_read_line_by_line(tmp_path, name, end, mark):
    lines = [json.dumps(record, ensure_ascii=False).encode() for record in RECORDS]
    (tmp_path / name).write_bytes(mark + end.join(lines))
    assert load_records(tmp_path / name) == RECORDS


@pytest.mark.parametrize(("content", "shown"), [
    (b" \r\n ", "the file is empty\n  expected a JSON list of records"),
    (b"{}", "expected a list of records, found an object"),
    (b'[{"a": "secret', "not JSON: Unterminated string starting at column 8\n"
     "  correct it there, or write the file again"),
    (b'["caf\xe9 au lait"]', "not UTF-8 text: byte 0xe9 at 5\n  save the file as UTF-8"),
    (json.dumps(RECORDS).encode("utf-16")[:-1], "not UTF-16-LE text: byte 0x5d at *"),
    (b"[" * 200_000 + b"]" * 200_000, "not usable JSON: it is nested too deeply"),
    (b"[" + b"9" * 5000 + b"]", "not usable JSON: a number has too many digits"),
    (b"[] []", "not JSON: Extra data at column 4\n  correct it there, or write *"),
])  # fmt: skip
def test_a_file_without_a_json_list_is_an_error_that_names_it(tmp_path, content, shown):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordsError) as caught:
        load_records(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith(shown.removesuffix("*"))
    assert shown.endswith("*") or message == shown
    assert "secret" not in message


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    for path, why in (
        (tmp_path / "no.json", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(RecordsError, match=f"can't be read: {why}") as caught:
            load_records(path)
        assert caught.value.location == str(path)


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_a_file_or_a_line_over_its_limit_is_not_read_on(tmp_path, monkeypatch, name):
    path = tmp_path / name
    path.write_text(json.dumps(["x" * 40]))
    monkeypatch.setattr(paper, "MAX_JSON_BYTES", 44)
    assert load_records(path)
    monkeypatch.setattr(paper, "MAX_JSON_BYTES", 43)
    with pytest.raises(RecordsError, match="exceeds the maximum of 43 bytes") as caught:
        load_records(path)
    assert caught.value.location.startswith(str(path))
    assert "jsonl" in caught.value.hint
    lines = tmp_path / "lines.jsonl"
    lines.write_text("[1]\n" * 50)
    assert load_records(lines) == [[1]] * 50


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="a pipe has no path here")
def test_a_pipe_which_has_no_size_is_limited_too(monkeypatch):
    monkeypatch.setattr(paper, "MAX_JSON_BYTES", 100)
    monkeypatch.setattr(paper, "_CHUNK", 16)
    end, begin = os.pipe()
    os.write(begin, b"[" * 60_000)
    os.close(begin)
    with pytest.raises(RecordsError, match="exceeds the maximum of 100 bytes"):
        load_records(Path(f"/dev/fd/{end}"))
    assert os.read(end, 1)  # not all of it was read
    os.close(end)


NAMES = st.sampled_from([
    "excerpt_id", "excerpt_text", "generations", "generated_text", "instruction", "finish_reason",
    "book_name",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_book_or_an_error_and_tells_what_was_asked_or_nothing(value):
    for read in (book_from_records, generations_from_records):
        with contextlib.suppress(RecordsError):
            read(value, place="here")
    book = book_from_records([excerpt("1", instruction="a")])
    requested = with_recorded_instructions(book, value)
    assert all(isinstance(excerpt.instruction, str) for excerpt in requested.excerpts)
