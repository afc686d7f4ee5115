import json
import tracemalloc
from pathlib import Path

import pytest
from clients import PLACE, make_provider
from log_rows import openai_batch, openai_failed, vertex_batch

from pytest_memleak.errors import RecordsError, SuiteError
from pytest_memleak.formats.paper_format import book_from_records
from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.records import FinishReason, Generation


def make_book(book_id="road"):
    records = [
        {"excerpt_id": f"p_id{number}", "excerpt_text": f"Text of {number}."}
        for number in (1, 2, 3)
    ]
    return book_from_records(records, book_id=book_id)


def record(number, *texts):
    generations = [{"generated_text": text} for text in texts]
    return {"excerpt_id": f"p_id{number}", "generations": generations}


def generation(number, ordinal, text):
    return Generation(
        f"p_id{number}", ordinal, text, FinishReason.UNSTATED
    )  # no record says why


RECORDS = [record(3, "three", "Three"), record(1, "one", ""), record(2, "two")]
GENERATIONS = [
    *(generation(1, 0, "one"), generation(1, 1, ""), generation(2, 0, "two")),
    *(generation(3, 0, "three"), generation(3, 1, "Three")),
]


@pytest.fixture
def make(tmp_path):
    def make(path="answers.json", **model):
        return make_provider("recorded", base=None, root=tmp_path, path=path, **model)

    return make


@pytest.fixture
def write(tmp_path):
    """Writes a file of records as its suffix says."""

    def write(path, records):
        path = tmp_path / path
        path.parent.mkdir(exist_ok=True)
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        path.write_text(
            json.dumps(records) if path.suffix == ".json" else lines, "utf-8"
        )

    return write


def read(provider, book_id="road"):
    return list(provider.open(None).generations(make_book(book_id)))


@pytest.mark.parametrize("path", ["answers.json", "answers.jsonl"])
def test_a_file_gives_its_generations(make, write, path):
    write(path, RECORDS)
    assert read(make(path)) == GENERATIONS
    write(path, [record(2, "two")])  # excerpts without a record are absent
    assert read(make(path)) == [generation(2, 0, "two")]


@pytest.mark.parametrize("form", [openai_batch, vertex_batch])
def test_logs_with_the_excerpts_ids_are_recordings(make, write, form):
    rows = [
        form(number, text) for number, text in ((3, "three"), (1, "one"), (3, "Three"))
    ]
    keyed = [row | {"key": f"p_id{n}"} for row, n in zip(rows, (3, 1, 3), strict=True)]
    write("batch.jsonl", keyed)
    generations = read(make("batch.jsonl"))
    assert [(each.excerpt_id, each.ordinal, each.text) for each in generations] == [
        ("p_id1", 0, "one"), ("p_id3", 0, "three"), ("p_id3", 1, "Three"),
    ]  # fmt: skip
    assert {each.finish_reason for each in generations} == {FinishReason.STOP}


def test_a_failed_call_is_no_answer(make, write):
    body = {"error": {"message": "It failed, since " + "the server was busy and " * 9}}
    prompt = {
        "prompt": {"raw": "Write."},
        "provider": {"id": "mock"},
        "vars": {"excerpt_id": 1},
    }
    failed = [
        {"custom_id": "p_id1", "response": {"status_code": 500, "body": body}},
        {
            **prompt,
            "response": {"tokenUsage": {}},
            "gradingResult": {"reason": "No assertions"},
        },
        openai_failed(1, ""),
    ]
    write("log.jsonl", failed)
    assert read(make("log.jsonl")) == []


@pytest.mark.parametrize(
    "name", ["inspect.eval", "inspect.json.gz", "lm_eval.jsonl", "promptfoo.json"]
)
def test_logs_of_evaluations_are_recordings(make, name):
    path = Path(__file__).parents[1] / "library" / "logs" / name
    recording = make(str(path)).open(None)
    generations = list(recording.generations(make_book()))
    assert [each.excerpt_id for each in generations] == ["p_id1", "p_id2", "p_id3"]
    assert generations[2].text.startswith("Hypothetically, I write")
    assert recording.with_instructions(make_book()).excerpts[1].instruction == (
        "Write scene 2 of a story about a lamp."
    )


def test_a_template_names_a_file_for_each_book(make, write):
    for book_id in ("road", "sea"):
        write(f"gpt/{book_id}.json", [record(1, f"at the {book_id}")])
    for book_id in ("road", "sea"):
        assert read(make("gpt/{book}.json"), book_id) == [
            generation(1, 0, f"at the {book_id}")
        ]


def test_a_long_jsonl_file_is_in_memory_once(make, write):
    texts, length = 400, 20_000
    ids, words = [f"p_id{number % 3 + 1}" for number in range(texts)], "x" * length
    write(
        "answers.jsonl", [{"excerpt_id": each, "generated_text": words} for each in ids]
    )
    provider, book = make("answers.jsonl"), make_book()
    tracemalloc.start()
    try:
        count = sum(1 for _ in provider.open(None).generations(book))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == texts
    assert peak < 1.3 * texts * length


@pytest.mark.parametrize(
    "path", ["answers.json", "answers.jsonl", "{book}.json", "folder.json"]
)
def test_a_missing_file_is_named_with_its_key(make, tmp_path, path):
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(SuiteError) as error:
        read(make(path))
    assert error.value.location == PLACE
    assert f"options.path: no such file {tmp_path / path.format(book='road')}" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("path", "hint"),
    [("answers.json", True), ("answers.jsonl", True), ("{book}.json", False)],
)
def test_records_of_another_book_are_an_error(make, write, tmp_path, path, hint):
    """A template is suggested unless it is there."""
    written = path.format(book="road")
    write(written, [*RECORDS, record(8, "eight"), record(9, "nine")])
    with pytest.raises(
        RecordsError, match=r"'road' has no excerpt 'p_id8' \(and 1 more\)"
    ) as error:
        read(make(path))
    assert error.value.location == str(tmp_path / written)
    assert ("{book}" in str(error.value)) is hint


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no rows"),
    (b'{"excerpt_id": "p_id1", "generated_text": "a"}\n\n[1', "line 3: not JSON"),
    (b'{"excerpt_id": "p_id1", "generated_text": "\xe9"}', "line 1: not UTF-8"),
    (b'{"choices": [{"delta": {"content": "a"}}]}', "line 1: this row is a chunk of a stream"),
    (b'{"excerpt_id": "p_id1", "x": "secret prose" oops', "not JSON"),
])  # fmt: skip
def test_another_form_is_an_error_that_names_the_line(make, tmp_path, content, message):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=message) as error:
        read(make(path.name))
    assert (error.value.location or "").startswith(str(path))
    assert "secret" not in str(error.value)


def test_recorded_generations_can_neither_be_sampled_nor_fine_tuned(make):
    endpoint = make().open(None)
    assert endpoint.abilities.recording
    with pytest.raises(SuiteError, match="can't be resampled"):
        endpoint.sample("Write.", n=1, temperature=None, max_tokens=9, seed=None)
    assert abilities_of(make()).finetuning is None
    for attempt in (
        lambda: make().open("ft:x"),
        lambda: make(endpoint="ft:x"),
    ):
        with pytest.raises(SuiteError, match="Recorded generations can't"):
            attempt()
    for entry in ({"books": ("road",)}, {"finetune": {"epochs": 1}}):
        with pytest.raises(SuiteError, match="can't be fine-tuned"):
            make(**entry)
