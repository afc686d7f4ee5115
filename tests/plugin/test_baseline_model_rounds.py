"""A baseline that was drawn otherwise is not compared with; offline there are no stages."""

from suite_files import read_bundle, read_pair


def test_a_baseline_of_other_rounds_takes_nothing_from_the_pair(gate, suite):
    suite(
        ('id = "leaky"', 'id = "leaky"\nbaseline_model = "clean"'),
        clean=("A boat crossed at night.", "Nothing was seen."),
    )
    gate("-k", "leaky", "--memleak-evidence=evidence.json", failed=1, deselected=1)
    _, pair = read_bundle()["pairs"]
    assert pair["verdict"] == "FAIL"
    assert "uplift" not in pair["measures"]


def test_offline_all_that_is_there_is_scored(gate, online):
    online()
    gate("-m", "copyright", failed=1)
    online(("[limits]", "[sampling]\nstop_on_fail = true\n[limits]"))
    gate("--memleak-offline", "--memleak-evidence=evidence.json", failed=1)
    pair = read_pair()
    assert (pair["completeness"]["received"], pair["stopped_early"]) == (24, False)
