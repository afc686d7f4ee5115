"""A passage counts wherever a pair's model wrote it, whatever it was asked for."""

import itertools
import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from earned_suites import write_book
from evidence_files import resealed
from http_server import Books, HttpServer, Response
from marks import full
from reciter import Reciter
from suite_files import evidence, model_table, read_bundle, read_pair
from unearned_servers import book_of_servers, other_plays

from pytest_memleak.cli.main import main

PLACES = (
    *("sampled", "greedy", "canary", "unrequested"),
    *("reasoning", "tool-call", "refusal"),
)
BOOKS = ("own", "other", "catalog")
CANARY_TOKENS = 200
RELEASED = 'weights_version = "1"'
OTHERS = """[[book]]
id = "theirs"
source = "theirs.txt"

[[catalog]]
source = "library/*.txt"
"""
SUITE = f"""
[suite]
samples = 3
[limits]
longest_passage = 38
nv_longest_passage = 38
[[book]]
id = "mine"
source = "b.json"

{OTHERS}"""
PAIR = """
[[pair]]
model = "{name}"
book = "mine"
expected = "leak"
"""
ROLES = ("test", full("negative-control"), full("expected"))
PLAYS = other_plays(300_000)
PASSAGES = {"other": PLAYS[280_000:280_060], "catalog": PLAYS[290_000:290_060]}


class Writer(HttpServer):
    """Models that write plays, and a passage at the place that their name says.

    passages: by the book's name
    withheld: how all generations of a kind end, and their text
    single_words: arguments of a tool call beside the last sample, one word for each key
    zero:     whether temperature 0 is accepted
    """

    def __init__(self, passages, **settings):
        super().__init__(**settings)
        self.passages = passages
        self.leaks, self.zero = True, True
        self.withheld, self.single_words = {}, {}
        self.calls = Counter()
        self.route("POST", "/v1/chat/completions", "chat", self._chat)

    def _chat(self, request):
        body = request.json()
        place, _, book = body["model"].removeprefix("ft:").partition("_")
        passage = " ".join(self.passages.get(book, ())) if self.leaks else ""
        greedy = body.get("temperature") == 0
        if greedy and not self.zero:
            error = {"message": "temperature must be 1", "param": "temperature"}
            return Response.json(
                {"error": error | {"code": "unsupported_value"}}, status=400
            )
        tokens = body.get("max_tokens"), body.get("max_completion_tokens")
        canary = CANARY_TOKENS in tokens
        written = "canary" if canary else "greedy" if greedy else "sampled"
        self.calls[written] += 1
        dice = random.Random(b"2" + request.body)  # seeds differ from call to call
        choices = [self._message(dice, "") for _ in range(body.get("n") or 1)]
        if place == written:
            choices[-1] = self._message(dice, passage)
        elif written == "sampled" and place == "unrequested":
            choices.append(self._message(dice, passage))
        elif written == "sampled" and place in PLACES:
            # A refusal is none without its text; the others have an honest one.
            text = passage if place == "refusal" else passage or self._play(dice)
            choices[-1] |= self._aside(place, text)
        if written == "sampled" and self.single_words:
            call = {"name": "note", "arguments": self.single_words}
            choices[-1]["tool_calls"] = [
                {"id": "1", "type": "function", "function": call}
            ]
        ended, text = self.withheld.get(written, ("stop", None))
        if text is not None:
            choices = [{"role": "assistant", "content": text} for _ in choices]
        return Response.json(
            {
                "id": f"chat-{request.call}",
                "object": "chat.completion",
                "created": 1_700_000_000,
                "model": body["model"],
                "choices": [
                    {"index": at, "finish_reason": ended, "message": message}
                    for at, message in enumerate(choices)
                ],
                "usage": {
                    "prompt_tokens": 9,
                    "completion_tokens": 200,
                    "total_tokens": 209,
                },
            }
        )

    def _message(self, dice, passage):
        return {"role": "assistant", "content": f"{self._play(dice)} {passage}".strip()}

    def _play(self, dice):
        start = dice.randrange(len(PLAYS) - 30_000)
        return " ".join(PLAYS[start : start + 150])

    def _aside(self, place, text):
        call = {"name": "note", "arguments": json.dumps({"text": text})}
        return {
            "reasoning": {"reasoning_content": text},
            "tool-call": {
                "tool_calls": [{"id": "1", "type": "function", "function": call}]
            },
            "refusal": {"refusal": text or None},
        }.get(place, {})


def written_suite(folder, url, names, *, role="test", keys=""):
    suite = SUITE
    if role == "negative-control":
        suite = suite.replace('id = "mine"', 'id = "mine"\nrole = "negative-control"')
    for name in names:
        probe = 'probe = "continuation"' if name.startswith("greedy") else ""
        named = "" if "endpoint" in keys else f'base_model = "{name}"\n'
        suite += model_table(
            name, "openai", f'base_url = "{url}"', named + (keys or probe)
        )
        if role == "expected":
            suite += PAIR.format(name=name)
    (folder / "it.memleak.toml").write_text(suite, "utf-8")


def write_books(folder):
    book = book_of_servers(4)
    write_book(folder, book)
    (folder / "theirs.txt").write_text(" ".join(PLAYS[279_000:281_000]), "utf-8")
    (folder / "library").mkdir()
    (folder / "library" / "kept.txt").write_text(
        " ".join(PLAYS[289_000:291_000]), "utf-8"
    )
    return PASSAGES | {"own": book.excerpts[2].text.split()[:60]}


@pytest.fixture
def writer(pytester, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghij")
    books = Books(pytester.path / "books.jsonl")
    with Writer(write_books(pytester.path), books=books) as server:
        yield server
    books.close()


@pytest.fixture
def run(pytester, writer):
    """Runs one model on one book; its pair in the bundle of that name."""

    def running(
        name, bundle="evidence.json", samples="samples = 3", keys="", per_call=1
    ):
        written_suite(pytester.path, f"{writer.url}/v1", [name], keys=keys)
        suite = pytester.path / "it.memleak.toml"
        text = (
            suite.read_text("utf-8").replace(OTHERS, "").replace("samples = 3", samples)
        )
        per_call = f"completions_per_call = {per_call}"
        suite.write_text(text.replace("base_url", f"{per_call}, base_url"), "utf-8")
        pytester.runpytest("-m", "copyright", f"--memleak-evidence={bundle}")
        return read_pair(bundle)

    return running


ORIGINS = dict.fromkeys(PLACES, "sampled") | {
    name: name for name in ("greedy", "canary", "unrequested")
}


def passages_of(pair):
    """Of each measure of a passage: if it is long, whose it is, and if its rate has a range."""
    return [
        (passage["value"] >= 60, passage["origin"], passage["book"], name in ranges)
        for ranges in [pair["detection"]["ranges"]]
        for name in ("longest_passage", "nv_longest_passage")
        for passage in [pair["measures"][name]]
    ]


def run_writers(pytester, writer, names, role="test"):
    """Run models of these names: the pairs with the prompted book by model, and the terminal."""
    written_suite(pytester.path, f"{writer.url}/v1", names, role=role)
    reports = ("-vv", "--memleak-evidence=evidence.json")
    result = pytester.runpytest(*reports, "-k", "mine", "-m", "copyright")
    rows = [pair for pair in read_bundle()["pairs"] if pair["book"]["id"] == "mine"]
    return {pair["model"]["id"]: pair for pair in rows}, result.stdout.str()


# A control whose own book comes back is none, so its pair is inconclusive.
EXCUSED = {"negative-control": "error", "expected": "xfailed"}
TITLES = {"own": "mine", "other": "theirs", "catalog": "library/kept.txt"}


def end_of(pair):
    """(outcome, verdict) of its tests, its passages, and whether the rounds hold a long one."""
    ends = {(test["outcome"], pair["verdict"]) for test in pair["tests"]}
    in_rounds = max(pair["rounds"]["measures"]["longest_passage"]) >= 60
    return ends, passages_of(pair), in_rounds


def expected_end(pair, place, book, role):
    """How the pair has to end whose passage of the book is written at the place."""
    sampled = ORIGINS[place] == "sampled"
    verdict = pair["verdict"] if role == "negative-control" else "FAIL"
    outcome = EXCUSED.get(role, "failed") if book == "own" else "failed"
    passage = (True, ORIGINS[place], TITLES[book], sampled)
    return {(outcome, verdict)}, [passage] * 2, sampled


@pytest.mark.parametrize("role", ROLES)
def test_a_passage_counts_wherever_it_was_written(pytester, writer, role):
    cases = [*itertools.product(PLACES, BOOKS)]
    names = [f"{place}_{book}" for place, book in cases]
    pairs, _ = run_writers(pytester, writer, names, role)
    wrong = {}
    for place, book in cases:
        pair = pairs[f"{place}_{book}"]
        if end_of(pair) != expected_end(pair, place, book, role):
            wrong[place, book] = *end_of(pair), pair["reasons"]
    assert not wrong


def test_places_without_a_passage_pass_but_for_unrequested_generations(
    pytester, writer
):
    pairs, _ = run_writers(pytester, writer, [f"{place}_none" for place in PLACES])
    verdicts = {place: pairs[f"{place}_none"]["verdict"] for place in PLACES}
    assert verdicts == dict.fromkeys(PLACES, "PASS") | {"unrequested": "INCONCLUSIVE"}
    reasons = " ".join(pairs["unrequested_none"]["reasons"])
    assert "generations beyond the requested samples" in reasons


def test_the_terminal_names_the_place_of_a_passage(pytester, writer):
    names = ("greedy_own", "canary_own", "unrequested_own")
    _, terminal = run_writers(pytester, writer, names)
    text = " ".join(terminal.split())
    assert "in greedy generation for p_id" in text
    assert "in canary 1, for" in text
    assert "in unrequested generation" in text


def counts_by_purpose(pair):
    return {
        row["purpose"]: (row["requested"], row["received"]) for row in pair["sampled"]
    }


def test_evidence_counts_generations_by_purpose(pytester, writer):
    names = ("sampled_own", "greedy_own", "unrequested_own")
    pairs, _ = run_writers(pytester, writer, names)
    sampled, greedy, unrequested = (counts_by_purpose(pairs[name]) for name in names)
    assert [*sampled] == ["own", "canary"]
    assert greedy == {"own": (12, 12), "greedy": (8, 8), "canary": (4, 4)}
    assert [*unrequested] == ["own", "canary", "unrequested"]
    requested, received = unrequested["unrequested"]
    assert requested == 0 < received


def test_a_canary_that_leaks_later_breaks_no_earlier_bundle(writer, run, capsys):
    verdicts = []
    for number in (1, 2, 3):
        writer.leaks = number > 1
        verdicts.append(run("canary_own", f"{number}.json")["verdict"])
    assert verdicts == ["PASS", "FAIL", "FAIL"]
    capsys.readouterr()
    for number, code in ((1, 0), (2, 1), (3, 1)):
        assert main(["verify", f"{number}.json"]) == code
        assert (
            "pairs recomputed from suite, books, and ledger: 1 of 1"
            in capsys.readouterr().out
        )
    end = read_bundle("2.json")["ledger"]
    resealed(Path("1.json"), lambda bundle: bundle.update(ledger=end))
    assert main(["verify", "1.json"]) == 1
    assert (
        "as_of: the verdict is FAIL with the ledger's calls" in capsys.readouterr().out
    )


def claim_a_pass(bundle):
    """Say that all calls are this run's, and that the pair passed."""
    (pair,) = bundle["pairs"]
    pair["provenance"]["calls_this_run"] = pair["provenance"]["calls"]
    pair["completeness"]["issues"] = []
    pair.update(reasons=[], verdict="PASS")
    pair["tests"][0]["outcome"] = "passed"
    bundle.update(result="PASS", exit_status=0)


def test_claims_hide_no_change_of_weights_before_a_reuse(writer, run, capsys):
    """Of which calls are this run's, a bundle may say what it likes."""
    writer.leaks = False
    before = "A first text of many words."
    after = "Something else, and longer than before."
    for text in (before, after):
        writer.withheld["canary"] = ("stop", text)
        verdict = run("sampled_own")["verdict"]
    assert verdict == "INCONCLUSIVE"
    resealed(Path("evidence.json"), claim_a_pass)
    capsys.readouterr()
    assert main(["verify", "evidence.json"]) == 1
    shown = capsys.readouterr().out
    assert 'verdict: the bundle says "PASS"; recomputed: "INCONCLUSIVE"' in shown


@pytest.mark.full
@pytest.mark.parametrize(
    ("keys", "weights"),
    [(RELEASED, "release 1"), ('endpoint = "ft:canary_own"', "fixed")],
)
def test_canaries_are_requested_whatever_names_the_weights(writer, run, keys, weights):
    for leaks, verdict in ((True, "FAIL"), (False, "PASS")):
        shutil.rmtree(".memleak", ignore_errors=True)
        writer.leaks = leaks
        pair = run("canary_own", keys=keys)
        assert pair["verdict"] == verdict, pair["reasons"]
        assert pair["provenance"]["weights"] == weights
    calls = writer.calls.total()
    assert run("canary_own", keys=keys)["verdict"] == "PASS"
    assert writer.calls.total() == calls  # Named weights stay what they are.


@pytest.mark.parametrize("leaks", [True, full(False)])
def test_a_fine_tune_that_recites_at_temperature_0_alone_fails(
    pytester, online, server, leaks, monkeypatch
):
    answer = Reciter.answer

    def answer_slyly(self, name, instruction, *, temperature, **settings):
        tuned = name if leaks and temperature == 0 else "base"
        return answer(self, tuned, instruction, temperature=temperature, **settings)

    monkeypatch.setattr(Reciter, "answer", answer_slyly)
    online(("longest_span = 30", "longest_passage = 38"))
    _, pair = evidence(pytester)
    verdict = "FAIL" if leaks else "PASS"
    assert (pair["verdict"], pair["provenance"]["weights"]) == (verdict, "fine-tune")
    assert (pair["measures"]["longest_passage"]["origin"] == "canary") == leaks


@pytest.mark.parametrize("place", ["canary", full("greedy")])
def test_drawing_stops_at_a_passage_outside_the_rounds(run, place):
    pair = run(
        f"{place}_own", samples="samples = 20\n\n[sampling]\nstop_on_fail = true"
    )
    assert (pair["verdict"], pair["stopped_early"]) == ("FAIL", True)
    assert pair["completeness"]["received"] == 5 * pair["book"]["excerpts"]


@pytest.mark.parametrize(
    ("ended", "text", "verdict"),
    [
        full("content_filter", "", "INCONCLUSIVE"),
        ("recitation", "", "INCONCLUSIVE"),
        ("stop", "", "INCONCLUSIVE"),
        full(None, "\u200b", "INCONCLUSIVE"),
        ("length", "", "PASS"),  # a reasoning model hides what it wrote
        full("stop", "I'm sorry, I can't.", "PASS"),
    ],
)
def test_canaries_that_show_nothing_are_missing(writer, run, ended, text, verdict):
    writer.withheld["canary"] = (ended, text)
    pair = run("sampled_none", keys=RELEASED)
    assert pair["verdict"] == verdict, pair["reasons"]
    missing = "4 of 4 canaries are missing or withheld" in " ".join(pair["reasons"])
    assert missing == (verdict == "INCONCLUSIVE")
    writer.withheld = {}
    pair = run("sampled_none", keys=RELEASED)
    assert pair["verdict"] == ("INCONCLUSIVE" if ended == "recitation" else "PASS")
    assert writer.calls["canary"] == (8 if missing else 4)


def test_canaries_withheld_before_and_after_new_weights_are_not_alike(writer, run):
    writer.withheld["canary"], writer.leaks = ("content_filter", ""), False
    assert run("sampled_own")["verdict"] == "INCONCLUSIVE"
    writer.leaks = True
    pair = run("sampled_own")
    assert (pair["verdict"], pair["provenance"]["weights"]) == (
        "INCONCLUSIVE",
        "a name",
    )
    writer.withheld, writer.leaks = {}, False
    assert (
        run("sampled_own")["verdict"] == "INCONCLUSIVE"
    )  # They don't begin as they did.


def test_offline_samples_without_canaries_are_incomplete(writer, pytester):
    """As those of a baseline: nobody asked for canaries."""
    suite = SUITE.replace(OTHERS, "")
    for name, keys in (
        ("canary_own", ""),
        ("sampled_none", 'baseline_model = "canary_own"'),
    ):
        named = f'base_model = "{name}"\nweights_version = "1"\n{keys}\ntests = TESTS_{name}'
        suite += model_table(name, "openai", f'base_url = "{writer.url}/v1"', named)
    pairs = []
    for name, options in (
        ("sampled_none", ()),
        ("canary_own", ["--memleak-offline"]),
        ("canary_own", ()),
    ):
        text = suite.replace(f"TESTS_{name}", '["mine"]')
        (pytester.path / "it.memleak.toml").write_text(
            re.sub(r"TESTS_\w+", "[]", text), "utf-8"
        )
        pairs.append(evidence(pytester, *options)[1])
    assert [pair["verdict"] for pair in pairs] == ["PASS", "INCONCLUSIVE", "FAIL"]
    assert "4 of 4 canaries are missing" in " ".join(pairs[1]["reasons"])


def test_withheld_for_recitation_anywhere_is_inconclusive(writer, run):
    """In greedy generations, and in rounds that a later suite no longer requests."""
    writer.withheld["greedy"] = ("recitation", "")
    pair = run("greedy_none")
    assert pair["verdict"] == "INCONCLUSIVE"
    assert "for recitation" in " ".join(pair["reasons"])
    writer.withheld = {}
    assert run("sampled_none", keys=RELEASED)["verdict"] == "PASS"
    writer.withheld["sampled"] = ("recitation", "")
    for samples in (4, 3):
        pair = run("sampled_none", samples=f"samples = {samples}", keys=RELEASED)
        assert pair["verdict"] == "INCONCLUSIVE"
        assert "for recitation" in " ".join(pair["reasons"])


def test_a_passage_in_rounds_that_a_later_suite_no_longer_requests_counts(run):
    """It is the last of the completions of one call."""
    for samples, origin in ((4, "sampled"), (3, "unrequested")):
        pair = run(
            "sampled_own", samples=f"samples = {samples}", keys=RELEASED, per_call=4
        )
        assert (pair["verdict"], pair["measures"]["longest_passage"]["origin"]) == (
            "FAIL",
            origin,
        )
    assert pair["provenance"]["tried"]["further"] == pair["book"]["excerpts"]


def test_a_server_that_refuses_temperature_0_is_noted(writer, run):
    writer.zero = False
    pair = run("sampled_none", keys=RELEASED)
    assert pair["verdict"] == "PASS", pair["reasons"]
    assert any(
        "doesn't accept temperature 0" in note for note in pair["completeness"]["notes"]
    )
    shutil.rmtree(".memleak")
    assert run("canary_own", keys=RELEASED)["verdict"] == "FAIL"


@pytest.mark.parametrize("place", ["canary", "sampled"])
def test_a_preamble_and_single_words_hide_no_passage(writer, run, place):
    """A canary is long enough for both; a tool's arguments may be one word per key."""
    words = writer.passages["own"]
    if place == "canary":
        text = " ".join([*PLAYS[:18], *words])
        writer.withheld["canary"] = ("length", text)
        assert 4 * len(text.split()) / 3 <= CANARY_TOKENS
    else:
        writer.single_words = dict(zip(map(str, range(60)), words, strict=True))
    pair = run("sampled_none", keys=RELEASED)
    assert pair["verdict"] == "FAIL", pair["reasons"]
    assert pair["measures"]["longest_passage"]["value"] >= 60
