from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_memleak.errors import RecordsError, SuiteError
from pytest_memleak.interfaces.protocols import Endpoint, ProviderSetup, Recording, TrainingSet
from pytest_memleak.providers.recorded import RecordedProvider
from pytest_memleak.records import Book, FinishReason, Generation, Model
from pytest_memleak.records.paper_format import book_from_records

MakeProvider = Callable[..., RecordedProvider]
PLACE = "x.memleak.toml: model 'recorded'"


def make_book(book_id: str, *, excerpts: int = 3) -> Book:
    return book_from_records(
        [
            {"excerpt_id": f"p_id{number}", "excerpt_text": f"Text of {number}."}
            for number in range(1, excerpts + 1)
        ],
        book_id=book_id,
    )


def record(number: int, *texts: str) -> dict[str, Any]:
    return {
        "excerpt_id": f"p_id{number}",
        "generations": [{"generated_text": text} for text in texts],
    }


RECORDS = [record(3, "three", "Three"), record(1, "one", ""), record(2, "two")]
# No record says why its generations ended.
GENERATIONS = [
    Generation("p_id1", 0, "one", FinishReason.UNTOLD),
    Generation("p_id1", 1, "", FinishReason.UNTOLD),
    Generation("p_id2", 0, "two", FinishReason.UNTOLD),
    Generation("p_id3", 0, "three", FinishReason.UNTOLD),
    Generation("p_id3", 1, "Three", FinishReason.UNTOLD),
]


@pytest.fixture
def make_provider(tmp_path: Path) -> MakeProvider:
    def read_book(book_id: str) -> Book:
        raise AssertionError(f"{book_id} is not needed")

    def make(path: str = "answers.json", **model: Any) -> RecordedProvider:
        model.setdefault("options", {"path": path})
        setup = ProviderSetup(
            model=Model("recorded", "recorded", **model),
            place=PLACE,
            root=tmp_path,
            state=tmp_path / "state",
            read_book=read_book,
        )
        return RecordedProvider(setup)

    return make


def write_json(path: Path, records: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records), encoding="utf-8")


def write_lines(path: Path, records: list[Any]) -> None:
    path.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")


def read(provider: RecordedProvider, book: Book) -> list[Generation]:
    return list(provider.open(None).generations(book))


# --- reading -------------------------------------------------------------------------------


def test_a_json_file_gives_its_generations(make_provider: MakeProvider, tmp_path: Path) -> None:
    write_json(tmp_path / "answers.json", RECORDS)
    assert read(make_provider(), make_book("road")) == GENERATIONS


def test_jsonl_gives_the_same(make_provider: MakeProvider, tmp_path: Path) -> None:
    write_lines(tmp_path / "answers.jsonl", RECORDS)
    assert read(make_provider("answers.jsonl"), make_book("road")) == GENERATIONS


def test_jsonl_may_have_a_line_for_each_generation(
    make_provider: MakeProvider, tmp_path: Path
) -> None:
    lines = [
        {"excerpt_id": one.excerpt_id, "generated_text": one.text}
        for one in sorted(GENERATIONS, key=lambda one: one.ordinal)
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    (tmp_path / "answers.JSONL").write_text(f"\ufeff{text}\r\n", encoding="utf-8")
    assert read(make_provider("answers.JSONL"), make_book("road")) == GENERATIONS


def test_a_template_names_a_file_for_each_book(make_provider: MakeProvider, tmp_path: Path) -> None:
    write_json(tmp_path / "gpt" / "road.json", [record(1, "on the road")])
    write_json(tmp_path / "gpt" / "sea.json", [record(1, "at sea")])
    endpoint = make_provider("gpt/{book}.json").open(None)
    for book_id, text in (("road", "on the road"), ("sea", "at sea")):
        (one,) = endpoint.generations(make_book(book_id))
        assert one.text == text


def test_excerpts_without_a_record_are_absent(make_provider: MakeProvider, tmp_path: Path) -> None:
    write_json(tmp_path / "answers.json", [record(2, "two")])
    assert read(make_provider(), make_book("road")) == [
        Generation("p_id2", 0, "two", FinishReason.UNTOLD)
    ]


def test_a_provider_s_reasons_are_kept(make_provider: MakeProvider, tmp_path: Path) -> None:
    withheld = {"generated_text": "", "finish_reason": "recitation"}
    write_json(tmp_path / "answers.json", [{"excerpt_id": 1, "generations": [withheld]}])
    book = book_from_records([{"excerpt_id": 1, "excerpt_text": "Text."}])
    assert read(make_provider(), book) == [
        Generation("1", 0, "", FinishReason.RECITATION, finish_word="recitation")
    ]


def test_it_is_a_recording_and_nothing_can_be_sampled(make_provider: MakeProvider) -> None:
    endpoint = make_provider().open(None)
    assert isinstance(endpoint, Recording)
    assert not isinstance(endpoint, Endpoint)


def test_a_long_jsonl_file_is_in_memory_once(make_provider: MakeProvider, tmp_path: Path) -> None:
    texts, length = 400, 20_000
    lines = [
        {"excerpt_id": f"p_id{number % 3 + 1}", "generated_text": f"{number:06}" + "x" * length}
        for number in range(texts)
    ]
    write_lines(tmp_path / "answers.jsonl", lines)
    del lines
    provider, book = make_provider("answers.jsonl"), make_book("road")
    tracemalloc.start()
    try:
        count = sum(1 for _ in provider.open(None).generations(book))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == texts
    assert peak < 1.3 * texts * length


# --- what is wrong with a file -------------------------------------------------------------


@pytest.mark.parametrize("path", ["answers.json", "answers.jsonl", "{book}.json"])
def test_a_missing_file_is_named_with_its_key(
    make_provider: MakeProvider, tmp_path: Path, path: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        read(make_provider(path), make_book("road"))
    assert caught.value.location == PLACE
    assert f"options.path: no such file {tmp_path / path.format(book='road')}" in str(caught.value)


def test_a_folder_is_not_a_file(make_provider: MakeProvider, tmp_path: Path) -> None:
    (tmp_path / "answers.json").mkdir()
    with pytest.raises(SuiteError, match="no such file"):
        read(make_provider(), make_book("road"))


@pytest.mark.parametrize("path", ["answers.json", "answers.jsonl"])
def test_records_of_another_book_are_an_error(
    make_provider: MakeProvider, tmp_path: Path, path: str
) -> None:
    write = write_json if path.endswith("json") else write_lines
    write(tmp_path / path, [*RECORDS, record(8, "eight"), record(9, "nine")])
    with pytest.raises(
        RecordsError, match=r"'road' has no excerpt 'p_id8' \(and 1 more\)"
    ) as caught:
        read(make_provider(path), make_book("road"))
    assert caught.value.location == str(tmp_path / path)
    assert "{book}" in str(caught.value)


def test_the_hint_does_not_ask_for_a_template_that_is_there(
    make_provider: MakeProvider, tmp_path: Path
) -> None:
    write_json(tmp_path / "road.json", [record(4, "four")])
    with pytest.raises(RecordsError, match=r"has no excerpt 'p_id4'\n") as caught:
        read(make_provider("{book}.json"), make_book("road"))
    assert "{book}" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b'{"excerpt_id": "p_id1"\n', "line 1: not JSON"),
        (b'{"excerpt_id": "p_id1", "generated_text": "a"}\n\n[1', "line 3: not JSON"),
        (b"[]\n", "expected an object"),
        (b"\xff\xfe{\x00}\x00\n", "not UTF-8"),
        (b'{"excerpt_id": "p_id1", "generated_text": "\xe9"}', "line 1: not UTF-8"),
        (b"[" * 200_000, "line 1: not usable JSON"),
        (b'{"generated_text": "a"}', "no excerpt_id"),
        (b'{"excerpt_id": "p_id1", "generations": null}', "generations is null"),
        (b'{"excerpt_id": "p_id1", "generated_text": 5}', "generated_text is a number"),
        (b'{"excerpt_id": "p_id1", "generations": []}\n' * 2, "occurs twice"),
    ],
)
def test_lines_of_another_form_are_errors_that_name_the_file(
    make_provider: MakeProvider, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=message) as caught:
        read(make_provider("answers.jsonl"), make_book("road"))
    assert (caught.value.location or "").startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"[5]"])
def test_json_of_another_form_is_an_error_that_names_the_file(
    make_provider: MakeProvider, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "answers.json"
    path.write_bytes(content)
    with pytest.raises(RecordsError) as caught:
        read(make_provider(), make_book("road"))
    assert (caught.value.location or "").startswith(str(path))


def test_a_message_never_quotes_a_generation(make_provider: MakeProvider, tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text('{"excerpt_id": "p_id1", "x": "secret prose" oops')
    with pytest.raises(RecordsError) as caught:
        read(make_provider("answers.jsonl"), make_book("road"))
    assert "secret" not in str(caught.value)


# --- the suite's entry ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "options.path"),
        ({"path": 5}, "got 5"),
        ({"path": "answers.csv"}, r"\.json or \.jsonl file; got 'answers\.csv'"),
        ({"path": "answers"}, r"\.json or \.jsonl"),
        ({"path": "{model}.json"}, "only placeholder"),
        ({"path": "{book.json"}, "only placeholder"),
        ({"path": "a.json", "speed": 1}, r"unknown key 'options\.speed'"),
    ],
)
def test_bad_options_are_errors(
    make_provider: MakeProvider, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        make_provider(options=options)
    assert caught.value.location == PLACE


def test_a_suite_that_fine_tunes_it_is_an_error(make_provider: MakeProvider) -> None:
    for entry in ({"finetune_books": ("road",)}, {"finetune": {"epochs": 1}}):
        with pytest.raises(SuiteError, match="can't be fine-tuned"):
            make_provider(**entry)


def test_there_are_no_jobs_and_no_endpoints(make_provider: MakeProvider) -> None:
    provider = make_provider()
    assert provider.find_finetune("f00d") is None
    for attempt in (
        lambda: provider.start_finetune(TrainingSet((), "f00d")),
        lambda: provider.poll_finetune("job"),
        lambda: provider.open("ft:x"),
        lambda: make_provider(endpoint="ft:x"),
    ):
        with pytest.raises(SuiteError, match="Recorded generations can't"):
            attempt()
