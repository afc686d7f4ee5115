"""The first screen: its view model, and how a terminal shows it."""

import dataclasses
from pathlib import Path

import pytest
from pair_results import named
from screen_runs import (
    BOOKS,
    ILL,
    RUNS,
    eighty_pairs,
    leak,
    one_pair,
    pair,
    undecided,
    wanted_leak,
)

from pytest_memleak.records import Completeness, Issue, Kind, Verdict
from pytest_memleak.records.measurement import DetectionSummary
from pytest_memleak.records.pair_result import PairTest, RunReport
from pytest_memleak.reports.first_screen import first_screen
from pytest_memleak.reports.screen_text import screen_text
from pytest_memleak.verdict.evidence_requirements import SAMPLED

SCREENS = {
    80: Path(__file__).parent / "first_screens.txt",
    120: Path(__file__).parent / "first_screens_120.txt",
}
NO_LEAK = "No positive control leaked"
SUITE = "../s.memleak.toml"


@pytest.fixture(autouse=True)
def beside_the_suites(monkeypatch, tmp_path):
    """Results name /suites/s.memleak.toml; commands have paths from here."""
    monkeypatch.setattr(
        "os.path.relpath", lambda path: f"../{Path(path).name}", raising=True
    )


def plain(view):
    """The view model, as few words as say all of it."""
    maps = []
    for screen_map in view.maps:
        models = [
            f"{model.letter} {model.name} [{model.kind}] {model.text}"
            for model in screen_map.models
        ]
        rows = {}
        for row in screen_map.rows:
            cells = [
                " ".join(f"{cell.kind}:{cell.text}" for cell in place)
                for place in row.cells
            ]
            rows[row.book] = cells
        maps.append((models, rows))
    causes = [
        f"{cause.kind} | {cause.count} | {cause.text} | {cause.place}"
        for cause in view.causes
    ]
    return view.verdict, view.headline, maps, causes, view.next.command


VIEW_MEMLEAK = "memleak view ../s.memleak.toml --pair"
VIEWS = {
    "1 pair": (
        Verdict.FAIL,
        "1 pair over a limit; 1 model, 1 book",
        [],
        [
            "fail | 1 pair | longest_passage 531 > 38, bmc 0.500 > 0.15 | "
            "tuned-a/dracula-1"
        ],
        f"{VIEW_MEMLEAK} tuned-a/dracula-1",
    ),
    "8 pairs": (
        Verdict.FAIL,
        "6 pairs over a limit, 2 leaked as expected; 4 models, 2 books",
        [
            (
                [
                    "A candidate [fail] 2 FAIL: bmc up to 0.270 (limit 0.15)",
                    "B tuned-a [fail] 2 FAIL: longest_passage up to 533 (limit 38)",
                    "C tuned-b [fail] 2 FAIL: longest_passage up to 509 (limit 38)",
                    "D control [expected] 2 leaked, as expected",
                ],
                {
                    book: ["fail:bmc .270", "fail:533", "fail:509", "expected:(530)"]
                    for book in BOOKS[:2]
                },
            )
        ],
        [
            "fail | 4 pairs | longest_passage > 38 | worst 533: tuned-a/dracula-1",
            "fail | 2 pairs | bmc > 0.15 | worst 0.270: candidate/dracula-1",
        ],
        f"{VIEW_MEMLEAK} tuned-a/dracula-1",
    ),
    "an expected leak": (
        Verdict.INCONCLUSIVE,
        "1 pair leaked as expected; s.memleak.toml gates nothing: all its pairs are "
        "controls; 1 model, 1 book",
        [],
        [],
        "pytest -m copyright ../s.memleak.toml",
    ),
    "a collection": (
        Verdict.FAIL,
        "1 pair over a limit, 1 passed; 2 models, 1 book",
        [
            (
                [
                    "A poet [fail] 1 FAIL: leaking_works up to 0.667 (limit 0)",
                    "B calm [pass] 1 pass",
                ],
                {"poems": ["fail:works 2", "pass:"]},
            )
        ],
        ["fail | 1 pair | leaking_works > 0 | worst 0.667: poet/poems"],
        f"{VIEW_MEMLEAK} poet/poems",
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_view_of_a_small_run_has_these_parts(name):
    assert plain(first_screen(RUNS[name]())) == VIEWS[name]


def test_the_view_of_eighty_pairs_groups_them_by_their_first_limit():
    verdict, headline, maps, causes, command = plain(first_screen(eighty_pairs()))
    assert verdict is Verdict.FAIL
    assert headline == (
        "39 pairs over a limit, 1 undecided, 10 leaked as expected, 30 passed; "
        "8 models, 10 books"
    )
    [(models, rows)] = maps
    assert [model.split()[1] for model in models] == [
        *("tuned-a", "tuned-b", "merge-b", "merge-a"),
        *("control", "clean-a", "clean-b", "clean-c"),
    ]
    assert models[3] == (
        "D merge-a [fail] 9 FAIL, 1 undecided: bmc up to 0.180 (limit 0.15); "
        "longest_passage up to 48 (limit 38); passages_over up to 6 (limit 5)"
    )
    assert list(rows) == list(BOOKS)
    clean = ["pass:"] * 3
    assert rows["huckleberry-2"] == [
        *("fail:507", "fail:467", "fail:157", "fail:passages 6", "expected:(530)"),
        *clean,
    ]
    assert rows["gatsby-2"][3] == "inconclusive:bmc"
    assert causes == [
        "fail | 33 pairs | longest_passage > 38 | worst 509: tuned-a/gatsby-2",
        "fail | 5 pairs | bmc > 0.15 | worst 0.180: merge-a/gatsby-1",
        "fail | 1 pair | passages_over > 5 | worst 6: merge-a/huckleberry-2",
        "inconclusive | 1 pair | bmc: too close to the limit to decide | "
        "merge-a/gatsby-2",
    ]
    assert command == f"{VIEW_MEMLEAK} tuned-a/gatsby-2"


def test_the_view_of_an_interrupted_run_counts_what_ran():
    view = first_screen(RUNS["interrupted"]())
    verdict, headline, maps, causes, command = plain(view)
    assert verdict is Verdict.INCONCLUSIVE
    assert headline == (
        "23 of 80 pairs ran; 10 pairs leaked as expected, 13 passed; 8 models, 10 books"
    )
    [(models, rows)] = maps
    assert "F clean-b [unrun] 7 not run, 3 pass" in models
    assert rows["dracula-1"][:2] == ["unrun:", "unrun:"]
    assert causes == [
        "unrun | 57 pairs | not run: the run was interrupted before its test | "
        "tuned-a/dracula-1, tuned-a/dracula-2, tuned-a/frankenstein-1, and 54 more"
    ]
    assert command == "pytest -m copyright s.memleak.toml"
    assert view.next.why == "runs the rest; stored generations are reused"


def test_the_view_of_nine_ill_models_has_five_causes_with_fixes():
    view = first_screen(RUNS["nine ill models"]())
    assert [cause.text for cause in view.causes] == [
        "120 of 120 generations are empty",
        "the model refuses: 120 of 120 generations are refusals",
        "the answers are short: 120 of 120 generations",
        "different prompts return the same text: 120 of 120 generations",
        "the model repeats the prompt: 120 of 120 generations",
    ]
    assert view.more_causes == 3
    assert all(cause.fix for cause in view.causes)
    assert not any(cause.unexplained for cause in view.causes)
    [screen_map] = view.maps
    [row] = screen_map.rows
    texts = [cell.text for place in row.cells for cell in place]
    assert texts == [
        *("refuses", "short", "same text", "echo", "not prose"),
        *("empty", "empty", "no answer", "no answer"),
    ]


def screens(width):
    """Every run's first screen in a terminal."""
    shown = []
    for name, run in RUNS.items():
        text = screen_text(first_screen(run()), width=width, color=False, wrap=True)
        shown.append(f"#### {name}\n{text}")
    return "\n".join(shown)


@pytest.mark.parametrize("width", SCREENS)
def test_terminals_show_the_screens_that_are_kept(width):
    assert screens(width) == SCREENS[width].read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", RUNS)
def test_no_line_is_wider_than_the_terminal(name, width):
    view = first_screen(RUNS[name]())
    text = screen_text(view, width=width, color=False, wrap=True)
    assert max(map(len, text.splitlines())) <= width
    assert not [line for line in text.splitlines() if line.endswith(" ")]
    whole = screen_text(view, width=width, color=False)
    assert text.split() == whole.split()


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_command_stays_whole_and_its_purpose_wraps(width):
    typed = f"pytest -m copyright {'suites/of-a-release.memleak.toml ' * 5}-v"
    run = RunReport("9", [undecided("m", ILL["empty"])], typed=typed)
    text = screen_text(first_screen(run), width=width, color=False, wrap=True)
    lines = text.splitlines()
    assert lines[-2] == f"Next: {typed}"
    assert lines[-1].startswith("      (after the fix; ")


@pytest.mark.parametrize(("width", "most"), [(80, 35), (120, 32)])
def test_eighty_pairs_fit_a_screen(width, most):
    view = first_screen(eighty_pairs())
    text = screen_text(view, width=width, color=False, wrap=True)
    assert len(text.splitlines()) <= most  # with what was tried


# --- details of the view


def view_of(*results, **fields):
    return first_screen(RunReport("9", results, **fields))


def test_heat_doubles_with_the_limit():
    values = (39, 76, 77, 153, 305)
    results = [leak("m", f"b{value}", value) for value in values]
    [screen_map] = view_of(*results).maps
    heats = [row.cells[0][0].heat for row in screen_map.rows]
    assert heats == [1, 1, 2, 3, 4]


def test_a_cell_says_in_words_what_decided_and_how_much_more():
    [screen_map] = view_of(leak("m", "a", 531), pair("m", "b")).maps
    details = [row.cells[0][0].detail for row in screen_map.rows]
    assert details == [
        "longest_passage 531 > 38, and 1 more limit",
        "closest: longest_passage at 16% of its limit",
    ]


def test_books_that_every_model_passes_are_folded_from_24_on():
    books = [f"b{number}" for number in range(24)]
    results = [pair(model, book) for model in "mn" for book in books]
    results[3] = leak("m", "b3", 60)
    results[5] = undecided("m", ILL["empty"], book="b5")
    [screen_map] = view_of(*results).maps
    assert [row.book for row in screen_map.rows] == ["b3", "b5"]
    assert screen_map.folded == tuple(
        book for book in books if book not in {"b3", "b5"}
    )
    [shorter] = view_of(*[each for each in results if each.book.id != "b9"]).maps
    assert len(shorter.rows) == 23
    assert shorter.folded == ()


def test_models_with_books_of_their_own_have_no_map_of_blanks():
    results = [pair(f"m{number}", f"b{number}") for number in range(3)]
    [screen_map] = view_of(*results).maps
    assert screen_map.rows == ()
    assert len(screen_map.models) == 3


def test_suites_have_maps_of_their_own_with_one_alphabet():
    other = pair("n", "b")
    facts = dataclasses.replace(other.suite, name="t.toml", path="/suites/t.toml")
    other = dataclasses.replace(other, suite=facts)
    maps = view_of(pair("m", "a"), other).maps
    assert [screen_map.suite for screen_map in maps] == ["s.memleak.toml", "t.toml"]
    assert [screen_map.models[0].letter for screen_map in maps] == ["A", "B"]


def test_the_twenty_seventh_model_is_aa():
    [screen_map] = view_of(*[pair(f"m{n:02}", "b") for n in range(28)]).maps
    letters = [model.letter for model in screen_map.models]
    assert letters[25:] == ["Z", "AA", "AB"]


def test_what_a_cause_does_not_explain_stays_beside_it():
    more = tuple(Issue(f"rule {n}", f"cause {n}", f"fix {n}") for n in range(3))
    refused = ILL["refuse"]
    both = dataclasses.replace(refused, issues=(*refused.issues, *more))
    [cause] = view_of(undecided("m", both)).causes
    assert cause.unexplained == ("cause 0; fix 0", "cause 1; fix 1", "and 1 more issue")


def test_accepted_refusals_stand_beside_the_pass():
    kinds = {Kind.REFUSAL: 97, Kind.ANSWER: 3}
    completeness = Completeness(100, 100, kinds=kinds, accept_refusals=True)
    refusing = pair("m", "a", "PASS, 97% refused", completeness=completeness)
    view = view_of(refusing, pair("m", "b"))
    assert view.headline.startswith("1 pair passed, 1 passed with refusals")
    [screen_map] = view.maps
    assert screen_map.models[0].text == "1 pass with refusals, 1 pass"
    assert screen_map.rows[0].cells[0][0].text == "97% refused"


def test_a_negative_control_over_a_limit_did_not_leak_as_expected():
    control = pair("m", "a", "FAIL", bmc=0.2, control=True)
    view = view_of(control, pair("m", "b"))
    assert "leaked as expected" not in view.headline
    assert "1 over a limit as a negative control" in view.headline


PASSED = pair("m", "b")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exit_status": 1}, "pytest ended with exit code 1"),
        ({"uncollected": ("a.toml",)}, "1 file couldn't be collected"),
    ],
)
def test_the_headline_names_what_else_keeps_a_run_from_passing(fields, reason):
    view = view_of(PASSED, **fields)
    assert view.verdict is Verdict.INCONCLUSIVE
    assert reason in view.headline


def test_the_headline_names_a_test_with_limits_of_its_own():
    tests = (PairTest("test_mine", "failed"),)
    view = view_of(dataclasses.replace(PASSED, tests=tests), exit_status=1)
    assert view.verdict is Verdict.FAIL
    assert "1 pair failed a test with limits of its own" in view.headline
    assert "exit code" not in view.headline


# --- the command


def left_out(result):
    reasons = ("none of its tests was selected",)
    return dataclasses.replace(result, verdict="NOT RUN", reasons=reasons)


NOT_ASKED = Issue("all received", "0 of 9 received", fix=SAMPLED["all received"])
LACKING = dataclasses.replace(ILL["empty"], issues=(NOT_ASKED,))
EVIDENCE = {"outputs": {"evidence": Path("out/e.json")}}
COMMANDS = {
    "a pass": ([PASSED], {}, "pytest -x --memleak-evidence=evidence.json"),
    "a pass with evidence": ([PASSED], EVIDENCE, "memleak verify out/e.json"),
    "a leak with evidence": (
        [leak("a b", "c", 50)],
        EVIDENCE,
        "memleak view out/e.json --pair 'a b/c'",
    ),
    "a missing leak": (
        [pair("m", "b", expected="leak")],
        {},
        f"memleak doctor {SUITE}",
    ),
    "an undecided pair": ([undecided("m", ILL["empty"])], {}, "pytest -x"),
    "a pair whose generations --memleak-offline doesn't request": (
        [undecided("m", LACKING)],
        {"typed": "pytest -x --memleak-offline"},
        "pytest -x",
    ),
    "a pair that wasn't selected": (
        [PASSED],
        {"unrun": (left_out(pair("n", "b")),)},
        f"pytest -m copyright {SUITE}",
    ),
    "a leak beside a pair that wasn't selected": (
        [leak("m", "b", 50)],
        {"unrun": (left_out(pair("n", "b")),)},
        f"memleak view {SUITE} --pair m/b",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_one_command_is_to_be_typed(name):
    results, fields, command = COMMANDS[name]
    fields = {"typed": "pytest -x"} | fields
    assert view_of(*results, **fields).next.command == command


ADVICE = {
    "pytest -x": "rerun to get those not sampled yet; or lower samples",
    "pytest -x --memleak-offline": SAMPLED["all received"],
    "": SAMPLED["all received"],  # a line that isn't known may have it
}


@pytest.mark.parametrize("typed", ADVICE)
def test_advice_names_an_option_to_leave_out_only_if_it_was_typed(typed):
    few = dataclasses.replace(NOT_ASKED, cause="1 of 9 received")
    lacking = dataclasses.replace(LACKING, issues=(few,), received=9)
    [cause] = view_of(undecided("m", lacking), typed=typed).causes
    shown = (cause.text, cause.fix, *cause.unexplained)
    assert any(ADVICE[typed] in text for text in shown)


# --- what the run could see


def test_the_detection_limit_is_stated_once_with_its_pair():
    seen = DetectionSummary(100, 0.95, 100, 0.02951, clumped=1, drifting=1)
    less = dataclasses.replace(seen, detection=0.259)
    results = [
        pair("m", "a", detection=seen),
        pair("m", "b", detection=less),
        wanted_leak("n", "a"),
    ]
    assert view_of(*results).notes == (
        "Detection limit 25.9% (the highest, of m/b): a passage that occurs in more "
        "than this share of a prompt's generations appears at least once in the run "
        "(95% confidence)",
        "tried: instruction, 5 samples; not tried: continuation, extraction, "
        "fine-tuning, probability",
    )


@pytest.mark.parametrize(
    ("result", "is_doubted"),
    [
        (PASSED, True),
        (pair("m", "b", completeness=Completeness(6, 0)), False),
        (leak("m", "b", 60), True),
        (leak("m", "b", 60, leaked=True), False),
    ],
)
def test_a_run_without_a_leak_says_that_no_control_leaked(result, is_doubted):
    notes = " ".join(view_of(result).notes)
    assert (NO_LEAK in notes) is is_doubted


# --- text


def test_hostile_names_stay_on_their_lines():
    bad = "a\x1b[31m\nb\u202e"
    results = [named(leak("m", "b", 60), model=bad, book=bad), PASSED]
    view = view_of(*results)
    text = screen_text(view, width=80, color=False, wrap=True)
    assert not {"\x1b", "\u202e"} & set(text)
    assert "✗ A a [31m b" in text


def test_wide_names_keep_columns_in_line():
    results = [leak("m", "吾輩は猫である", 60), leak("m", "cat", 61)]
    lines = screen_text(view_of(*results), width=80, color=False).splitlines()
    [wide] = [line for line in lines if line.startswith("吾")]
    [narrow] = [line for line in lines if line.startswith("cat")]
    assert wide.index("✗") + 7 == narrow.index("✗")  # seven letters of two columns


def test_verdicts_have_colors_only_where_the_terminal_has():
    view = first_screen(one_pair())
    assert "\x1b[31mFAIL" in screen_text(view, width=80, color=True)
    assert "\x1b" not in screen_text(view, width=80, color=False)
