"""`Finder` adds passages to the batches of Ray Data, Spark, and datatrove."""

import json
import pickle
import random
import sys

import numpy as np
import pytest
from scored_books import prose

from pytest_memleak.library import Finder

RNG = random.Random(9)
NOVEL = [" ".join(prose(RNG, 100)) for _ in range(30)]
PASSAGE = " ".join(NOVEL[12].split()[10:70])
CHANGED = " ".join(
    "xyzzy" if n % 15 == 14 else w for n, w in enumerate(PASSAGE.split())
)
HARMLESS = " ".join(RNG.choices([f"v{n}" for n in range(900)], k=50))
TEXTS = [HARMLESS, PASSAGE, CHANGED]


@pytest.fixture
def novel(tmp_path):
    path = tmp_path / "novel.txt"
    path.write_text("\n\n".join(NOVEL), encoding="utf-8")
    return str(path)


@pytest.fixture
def finder(novel):
    return Finder([novel], text="answer", prompt="prompt")


def assert_passages(exact, near, passages, *, book):
    assert [int(words) for words in exact] == [0, 60, 0]
    assert int(near[1]) == 60
    assert 50 <= int(near[2]) < 60
    assert int(near[0]) == 0
    rows = [json.loads(text) for text in passages]
    assert rows[0] == []
    assert {row["book"] for row in rows[1]} == {book}
    assert {row["near"] for row in rows[1]} == {False, True}
    assert (rows[1][0]["place"], rows[1][0]["place_end"]) == (0, 60)
    assert " ".join(PASSAGE.split()[:3]) not in passages[1]


def test_a_batch_gets_the_passages_of_its_rows(finder, novel):
    batch = {"answer": np.array(TEXTS, dtype=object), "prompt": np.array([""] * 3)}
    result = pickle.loads(pickle.dumps(finder))(batch)
    assert [*result] == ["answer", "prompt", *Finder.COLUMNS]
    assert_passages(*(result[name] for name in Finder.COLUMNS), book=novel)


def test_words_of_the_prompt_do_not_count(finder):
    batch = {"answer": [PASSAGE, PASSAGE], "prompt": [PASSAGE, "Go on."]}
    assert finder(batch)["longest_passage"] == [0, 60]


def test_a_value_that_is_no_text_has_no_words_and_no_passages(finder):
    result = finder({"answer": [None, b"x", PASSAGE], "prompt": [None, "", None]})
    assert result["longest_passage"] == [None, None, 60]
    assert result["passages"][:2] == [None, None]


def test_an_empty_batch_stays_empty(finder):
    assert finder({"answer": [], "prompt": []})["passages"] == []


def test_data_frames_get_the_passages_of_their_rows(novel):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": TEXTS}, index=[3, 5, 7])
    (result,) = Finder([novel]).frames([frame])
    assert [*result.columns] == ["text", *Finder.COLUMNS]
    columns = [result[name].to_list() for name in Finder.COLUMNS]
    assert_passages(*columns, book=novel)


@pytest.mark.full
def test_a_pipeline_of_datatrove_writes_the_passages(novel, tmp_path):
    pytest.importorskip("datatrove")
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.writers import JsonlWriter

    def documents(_data, _rank=0, _world_size=1):
        for number, text in enumerate(TEXTS):
            yield Document(text=text, id=str(number))

    finder = Finder([novel])
    writer = JsonlWriter(str(tmp_path / "out"), compression=None)
    LocalPipelineExecutor(
        pipeline=[documents, finder.documents, writer],
        logging_dir=str(tmp_path / "logs"),
    ).run()
    (written,) = (tmp_path / "out").glob("*.jsonl")
    rows = [json.loads(line)["metadata"] for line in written.read_text().splitlines()]
    columns = [[row[name] for row in rows] for name in Finder.COLUMNS]
    assert_passages(*columns, book=novel)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray by itself
def test_a_dataset_of_ray_gets_the_passages(novel, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    pytest.importorskip("pyarrow")
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=2)
    try:
        rows = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
        dataset = ray.data.from_items(rows).map_batches(
            Finder,
            fn_constructor_args=[[novel]],
            concurrency=1,
        )
        result = sorted(dataset.take_all(), key=lambda row: row["id"])
    finally:
        ray.shutdown()
    columns = [[row[name] for row in result] for name in Finder.COLUMNS]
    assert_passages(*columns, book=novel)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support:FutureWarning")
def test_a_table_of_spark_gets_the_passages(novel, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    pytest.importorskip("pandas")
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    session = (
        sql.SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    try:
        rows = list(enumerate(TEXTS))
        table = session.createDataFrame(rows, "id int, text string")
        schema = (
            "id int, text string, longest_passage int, nv_longest_passage int, "
            "passages string"
        )
        result = table.mapInPandas(Finder([novel]).frames, schema).orderBy("id")
        collected = [row.asDict() for row in result.collect()]
    finally:
        session.stop()
    columns = [[row[name] for row in collected] for name in Finder.COLUMNS]
    assert_passages(*columns, book=novel)
