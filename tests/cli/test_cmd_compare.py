"""`memleak compare` of several models on one book; test_baseline has that of two releases."""

import pytest


@pytest.fixture
def two_models(generations_file):
    generations_file("a.json", p_id1=["a b c d e f", "c d e f g"], p_id2=["i j k l m"])
    generations_file("b.json", p_id1=["d e f g h"], p_id2=["k l m n o p", "i j k l m"])


def test_models_compare_as_in_the_worked_example(two_models, printed):
    result = printed("compare book.json a.json b.json --json")
    [pair] = result["pairs"]
    assert pair["jaccard"] == 0.5625
    assert pair["baseline"] == pytest.approx(0.63934, abs=1e-5)
    assert [model["self_agreement"] for model in result["models"]] == [4 / 12, 3 / 13]


def test_the_table_of_two_models_names_the_similarity(two_models, printed):
    assert "jaccard" in printed("compare book.json a.json b.json")


@pytest.mark.parametrize(
    "option", [("--max-increase", "bmc=0.1"), ("--as", "old=new")], ids=lambda o: o[0]
)
def test_options_for_bundles_reject_files_of_generations(two_models, refused, option):
    error = refused("compare", "book.json", "a.json", *option)
    assert f"{option[0]} needs evidence bundles; book.json isn't one" in error
