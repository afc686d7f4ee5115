"""What bundles allow to be compared of a pair in two releases."""

import dataclasses

import pytest
from icu4py import icu_version
from pair_results import NOTHING, estimated

from pytest_memleak.records.pair_result import RunReport, ScanScope
from pytest_memleak.results.comparable import find_scan_mismatch, find_settings_mismatch
from pytest_memleak.results.evidence_file import write_evidence_file
from pytest_memleak.results.release_comparison import BaselineBundle
from pytest_memleak.results.result_codec import localize
from pytest_memleak.results.run_evidence import run_evidence

SETTINGS = {
    "samples": 100, "seed": 0, "confidence": 0.95, "detection_limit": 0.05, "max_short": 0.25,
    "max_unanswered": 0.05, "max_prompt_overlap": 0.1, "accept_refusals": False,
    "min_length_ratio": 0.2,
}  # fmt: skip
BEFORE = dataclasses.replace(
    NOTHING,
    settings=SETTINGS,
    model=dataclasses.replace(
        NOTHING.model,
        options={"base_url": "http://a.test", "system": "You are a novelist."},
    ),
    scan_scope=ScanScope({"pier": "aa"}, {"quay": "bb"}),
)


def changed(*path, to):
    def set_at(value, path):
        if not path:
            return to
        if isinstance(value, dict):
            return value | {path[0]: set_at(value.get(path[0]), path[1:])}
        return dataclasses.replace(
            value, **{path[0]: set_at(getattr(value, path[0]), path[1:])}
        )

    return set_at(BEFORE, path)


@pytest.mark.parametrize(("name", "easier", "stricter"), [
    ("confidence", 0.99, 0.9), ("confidence", 0.99, 0), ("max_short", 0.3, 0.1),
    ("max_unanswered", 1.0, 0.0), ("max_prompt_overlap", 0.2, 0.05),
    ("accept_refusals", True, False), ("min_length_ratio", 0.1, 0.3),
])  # fmt: skip
def test_a_later_release_may_only_be_asked_for_more(name, easier, stricter):
    reasons, what_to_do = find_settings_mismatch(
        BEFORE, changed("settings", name, to=easier)
    )
    was = SETTINGS[name]
    assert (
        reasons == f"{name} is {was!r} in the baseline, but {easier!r} in this release"
    )
    assert (
        what_to_do
        == "measure both releases with the same settings, or rebuild the baseline"
    )
    assert (
        find_settings_mismatch(BEFORE, changed("settings", name, to=stricter)) is None
    )


@pytest.mark.parametrize(("path", "to"), [
    (("settings", "seed"), 3), (("settings", "detection_limit"), None),
    (("model", "options", "base_url"), "http://b.test"),
])  # fmt: skip
def test_a_setting_that_changes_no_answer_is_free(path, to):
    assert find_settings_mismatch(BEFORE, changed(*path, to=to)) is None


def test_another_version_of_icu_is_not_comparable():
    before, read = (
        changed("settings", "icu", to="72.1"),
        changed("book", "sha256", to="aa"),
    )
    reasons, _ = find_settings_mismatch(before, BEFORE)  # whose book isn't read yet
    assert (
        reasons == f"icu is '72.1' in the baseline, but {icu_version!r} in this release"
    )
    reasons, _ = find_settings_mismatch(before, read)
    assert reasons == "icu is '72.1' in the baseline, but None in this release"
    assert (
        find_settings_mismatch(changed("settings", "icu", to=icu_version), BEFORE)
        is None
    )


@pytest.mark.parametrize(("path", "to", "reasons"), [
    ((), {}, "system is 'You are a novelist.' in the baseline, but None in this release"),
    (("system",), "Be.", "system is 'You are a novelist.' in the baseline, but 'Be.' in this"),
    (("safety_threshold",), "BLOCK_NONE",
     "safety_threshold is None in the baseline, but 'BLOCK_NONE' in this release"),
])  # fmt: skip
def test_a_model_of_other_options_is_not_comparable(path, to, reasons):
    now = changed("model", "options", *path, to=to)
    assert find_settings_mismatch(BEFORE, now)[0].startswith(f"options.{reasons}")


def test_a_gated_pair_must_stay_gated():
    control, leak = changed("control", to=True), changed("expected", to="leak")
    assert [pair.gates for pair in (BEFORE, control, leak)] == [True, False, False]
    for now, what in ((control, "a negative control"), (leak, "expected to leak")):
        assert (
            find_settings_mismatch(BEFORE, now)[0]
            == f"it is gated in the baseline, but is {what} now"
        )
    assert find_settings_mismatch(control, BEFORE) is None


@pytest.mark.parametrize(("path", "to", "reasons"), [
    (("scan_scope", "books"), {}, "the books scanned for passages differ: removed pier"),
    (("scan_scope", "books"), {"mole": "cc", "pier": "dd"},
     "the books scanned for passages differ: added mole; changed pier"),
    (("scan_scope", "excused"), {}, "the excused books differ: removed quay"),
    (("catalog",), {"books": 3}, "the catalog differs"),
])  # fmt: skip
def test_passages_of_other_books_are_not_comparable(path, to, reasons):
    now = changed(*path, to=to)
    assert find_scan_mismatch(BEFORE, now, ["bmc", "longest_span"]) is None
    for name in ("longest_passage", "nv_longest_passage"):
        assert find_scan_mismatch(BEFORE, now, ["bmc", name])[0].endswith(reasons)


def test_a_bundle_without_scan_scope_is_not_comparable():
    old = changed("scan_scope", to=None)
    reasons, what_to_do = find_scan_mismatch(old, BEFORE, ["longest_passage"])
    assert reasons == "the bundle doesn't say which books were scanned for passages"
    assert "without API calls" in what_to_do
    # Before anything is read, ids do.
    scope = ScanScope({"pier": None}, {"quay": None})
    planned = dataclasses.replace(BEFORE, verdict="NOT RUN", scan_scope=scope)
    before = changed("catalog", to={"books": 3})
    assert find_scan_mismatch(before, planned, ["longest_passage"]) is None


def test_null_books_are_no_measure_that_changes(tmp_path):
    null = {"null_bmc": 0.1, "low": 0.2, "high": 0.3, "p": None}
    result = dataclasses.replace(
        NOTHING, measures={"bmc": estimated(0.5), "null": null}
    )
    write_evidence_file(
        run_evidence(RunReport("1.0", (result,))), tmp_path / "evidence.json"
    )
    changes = BaselineBundle(tmp_path / "evidence.json").change_lines(localize(result))
    assert changes == ("bmc 0.5 -> 0.5 (+0)",)
