"""Of a recording with more rounds than the suite asks for, nothing reads the others."""

import json

EXTENSION = """
from pytest_memleak.interfaces.hookspecs import hookimpl

def read_rounds(book, generations):
    return max(one.ordinal for one in generations) + 1

@hookimpl
def memleak_measures():
    return {"read_rounds": read_rounds}
"""
SUITE = """
[suite]
samples = 2

[limits]
longest_span = 10
bmc_excess = 1.0
[limits.measures]
read_rounds = 2

[[book]]
id = "ferry"
source = "ferry.json"
[[book]]
id = "quay"
source = "quay.json"

[[catalog]]
source = "library/*.txt"

[[model]]
id = "clean"
provider = "recorded"
[model.options]
path = "clean-{book}.json"
"""
TEXTS = {
    "ferry": "The ferryman counted nine lanterns along the quay and did not like the number.",
    "quay": "Of all the boats that winter left behind, only a barge would still take ropes aboard.",
    "library": "Seven clerks kept the registry of winds, and none had ever been outside in a gale.",
}


def records(name):
    record = {"excerpt_id": "p_id1", "excerpt_text": TEXTS[name], "instruction": f"Write {name}."}
    return [record | {"author_name": "Nobody", "book_name": name, "detail": name}]


def test_null_measures_of_extensions_and_catalog_read_as_many_as_the_verdict(pytester):
    pytester.makeconftest(EXTENSION)
    (pytester.path / "it.memleak.toml").write_text(SUITE, "utf-8")
    (pytester.path / "library").mkdir()
    (pytester.path / "library" / "winds.txt").write_text(TEXTS["library"], "utf-8")
    # The third round recites all of them.
    texts = "A boat was seen far off.", "No light was burning there.", " ".join(TEXTS.values())
    answers = [{"excerpt_id": "p_id1", "generations": [{"generated_text": one} for one in texts]}]
    for name in ("ferry", "quay"):
        (pytester.path / f"{name}.json").write_text(json.dumps(records(name)), "utf-8")
        (pytester.path / f"clean-{name}.json").write_text(json.dumps(answers), "utf-8")
    result = pytester.runpytest("-k", "ferry", "--memleak-evidence=evidence.json")
    # A round that nobody asked for is told, and is no pass; of the measures only passages read it.
    result.assert_outcomes(errors=1, deselected=1)
    pairs = json.loads((pytester.path / "evidence.json").read_text("utf-8"))["pairs"]
    (pair,) = (one for one in pairs if one["pair"] == "clean/ferry")
    measures = pair["measures"]
    assert measures["read_rounds"]["value"] == 2
    assert (measures["bmc"]["value"], measures["longest_span"]["value"]) == (0, 0)
    assert (measures["null"]["null_bmc"], measures["null"]["null_longest_span"]) == (0, 0)
    assert pair["catalog"]["books"] == 1
    passage = measures["longest_passage"]
    assert (passage["value"], passage["origin"]) == (16, "unrequested")
