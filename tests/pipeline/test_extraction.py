"""probe = "extraction": what a conversation extracts, and that it can be gone on with."""

import contextlib
import random

import pytest
from extraction_servers import (
    BOOK,
    changes_every,
    derails_after,
    extraction,
    extraction_suite,
    next_words,
    opens_at,
    recites,
    refuses,
    refuses_from,
    run_to_be_killed,
    serving,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_memleak.interfaces.abilities import Abilities
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.verify_chain import check_ledger
from pytest_memleak.pipeline.detection_table import (
    build_detection_table,
    next_usual_samples,
)
from pytest_memleak.pipeline.dry_run import plan_run
from pytest_memleak.pipeline.evaluate_pair import evaluate_pair
from pytest_memleak.pipeline.extraction_conversation import ANSWERS_PER_CONVERSATION
from pytest_memleak.pipeline.request_wordings import wordings
from pytest_memleak.records import Verdict
from pytest_memleak.reports.prompt_text import extraction_lines
from pytest_memleak.results.build_result import build_result_without_quotes
from pytest_memleak.scoring.extracted_words import extracted_words
from pytest_memleak.scoring.folding import folded_words
from pytest_memleak.scoring.nv_recall import near_verbatim


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("EXTRACTION_TEST_KEY", "k")


def measured(result):
    return result.analysis.extraction


@pytest.mark.parametrize(
    ("behavior", "verdict"),
    [
        (opens_at(3), Verdict.FAIL),
        (refuses, Verdict.PASS),
        (derails_after(0.5), Verdict.FAIL),
        (changes_every(25), Verdict.FAIL),
        (refuses_from(10), Verdict.FAIL),
        (recites, Verdict.FAIL),
    ],
    ids=[
        "third rewording",
        "refuses",
        "derails",
        "1 of 25",
        "refuses later",
        "recites",
    ],
)
def test_extracted_is_what_a_direct_computation_gives(tmp_path, behavior, verdict):
    with serving(behavior) as server:
        result = extraction(tmp_path, server)
    expected = near_verbatim(" ".join(BOOK), "\n\n".join(server.answers))
    assert measured(result).share == expected.nv_recall
    assert result.verdict is verdict, result.verdict_result


def test_the_rewording_that_opened_the_book_is_named(tmp_path):
    with serving(opens_at(3)) as server:
        result = extraction(tmp_path, server)
    assert result.extraction.opened_by == "rewording-3"
    assert result.extraction.openings == 4
    assert result.completeness.issues == ()
    (line,) = extraction_lines(build_result_without_quotes(result))
    assert line.startswith(
        "Extraction (chat): 4 of 51 openings asked, opened by rewording 3; "
    )


def test_canaries_that_were_no_openings_are_no_other_attempt(tmp_path):
    with serving(recites) as server:
        result = extraction(tmp_path, server, turns=2)
    assert result.provenance.tried.number == 1


def test_a_book_that_never_opened_passes_after_every_planned_opening(tmp_path):
    with serving(refuses) as server:
        result = extraction(tmp_path, server)
    assert result.verdict is Verdict.PASS
    assert result.extraction.ended == "never opened"
    assert (len(server.answers), result.completeness.requested) == (51, 51)


def test_three_answers_without_the_book_end_the_conversation(tmp_path):
    with serving(derails_after(0.5)) as server:
        result = extraction(tmp_path, server)
    assert result.extraction.ended == "3 answers without new text of the book"
    # The last that recites goes over the half.
    assert result.extraction.turns == len(server.answers) - 1


def test_a_refusal_ends_the_conversation(tmp_path):
    with serving(refuses_from(10)) as server:
        result = extraction(tmp_path, server)
    assert result.extraction.ended == "the model refused"
    assert len(server.answers) == 12


def test_a_budget_of_turns_ends_the_conversation(tmp_path):
    with serving(recites) as server:
        result = extraction(tmp_path, server, turns=5)
    assert result.extraction.ended == "all 5 turns were used"
    assert len(server.answers) == 6


def test_a_long_conversation_starts_over_from_the_last_reproduced_words(tmp_path):
    with serving(recites) as server:
        extraction(tmp_path, server)
    lengths = [len(chat) for chat in server.chats]
    assert max(lengths) == 2 * ANSWERS_PER_CONVERSATION - 1
    restart = lengths.index(1, 1)
    shown = server.chats[restart][0]["content"].split("\n\n")[1]
    assert server.answers[restart - 1].endswith(shown)


def test_words_that_only_the_prompt_has_are_no_passage(tmp_path):
    """A server that repeats what it is shown recites nothing."""
    with serving(lambda server, messages: messages[-1]["content"]) as server:
        result = extraction(tmp_path, server)
    assert result.analysis.passages.longest_passage.words == 0
    assert result.extraction.opened_by is None


def test_offline_the_stored_conversation_is_read_and_none_is_asked(tmp_path):
    with serving(opens_at(3)) as server:
        result = extraction(tmp_path, server)
        asked = len(server.answers)
        again = extraction(tmp_path, server, offline=True)
    assert len(server.answers) == asked
    assert again.extraction == result.extraction
    assert measured(again) == measured(result)


def interrupt_when(count):
    """Returns a progress that interrupts the run once so many chats were answered."""

    def progress(server):
        def interrupt(event):
            if len(server.answers) >= count:
                raise KeyboardInterrupt

        return interrupt

    return progress


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.full)])
def test_a_conversation_that_is_interrupted_goes_on_where_it_was(tmp_path, kills):
    """Whatever turns runs are stopped at, the chats are those of a whole run."""
    with serving(opens_at(3)) as server:
        whole = extraction(tmp_path, server, turns=15)
        chats = list(server.chats)
    folder = tmp_path / "stopped"
    folder.mkdir()
    dice = random.Random(48)
    with serving(opens_at(3)) as server:
        for _ in range(kills):
            until = len(server.answers) + dice.randrange(1, 4)
            progress = interrupt_when(until)(server)
            with contextlib.suppress(KeyboardInterrupt):
                extraction(folder, server, turns=15, progress=progress)
        result = extraction(folder, server, turns=15)
        assert server.chats == chats
    assert measured(result) == measured(whole)
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        assert check_ledger(ledger).wrong == []


@pytest.mark.full
def test_a_process_that_is_killed_at_twenty_turns_pays_for_no_turn_twice(tmp_path):
    with serving(opens_at(3)) as server:
        whole = extraction(tmp_path, server, turns=40)
        chats = list(server.chats)
    folder = tmp_path / "killed"
    folder.mkdir()
    dice = random.Random(48)
    with serving(opens_at(3)) as server:
        for _ in range(20):
            server.kills_at = len(server.answers) + dice.randrange(3)
            run_to_be_killed(folder, server)
        server.kills_at = None
        result = extraction(folder, server, turns=40)
        assert server.chats == chats
    assert measured(result) == measured(whole)
    with Ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        assert check_ledger(ledger).wrong == []


def test_a_conversation_that_was_cut_short_is_incomplete(tmp_path):
    def fails():
        if len(server.answers) == 5:
            raise ConnectionAbortedError

    with serving(refuses) as server:
        server.before_answer = fails
        result = extraction(tmp_path, server)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.extraction.ended == ""


def test_an_answer_that_the_provider_withheld_is_no_pass(tmp_path):
    with serving(refuses) as server:
        server.finish_reason = "content_filter"
        result = extraction(tmp_path, server)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "none withheld" in {issue.rule for issue in result.completeness.issues}


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_silence_is_no_answer_to_an_opening(tmp_path, finish_reason):
    with serving(lambda *_: "") as server:
        server.finish_reason = finish_reason
        result = extraction(tmp_path, server)
    assert result.verdict is Verdict.INCONCLUSIVE


def test_turns_without_room_for_the_only_limit_are_named(tmp_path):
    few = {
        'preset = "strict"': "extracted = 0.9",
        "[[model]]": "[[model]]\nmax_tokens = 200",
    }
    with serving(refuses) as server:
        result = extraction(tmp_path, server, turns=1, replaced=few)
    assert "can't fail" in str(result.verdict_result)
    assert not server.answers


def test_a_dry_run_plans_the_most_that_a_conversation_may_take(tmp_path):
    with (
        serving(refuses) as server,
        extraction_suite(tmp_path, server.url, turns=40) as suite,
    ):
        (step,) = plan_run(suite.suite.pairs, lambda pair: suite).steps
    canaries = 5
    assert step.sampling.calls == canaries + 51 + 40
    # At most nine answers of 800 tokens stand before a turn.
    assert step.sampling.prompt_tokens < 40 * 10 * 1000 + 91 * 200
    assert step.sampling.completion_tokens == 91 * 800 + canaries * 200


def test_what_a_dry_run_plans_after_a_kill_is_what_is_left(tmp_path):
    with serving(opens_at(3)) as server:
        extraction(tmp_path, server, turns=5)
        with extraction_suite(tmp_path, server.url, turns=5) as suite:
            (step,) = plan_run(suite.suite.pairs, lambda pair: suite).steps
    assert step.sampling.calls == 0


def test_an_endpoint_that_holds_no_conversation_starts_over_with_its_last_words(
    tmp_path,
):
    """A test's own endpoint has only `sample`: every prompt has the request."""
    asked = []

    class Own:
        id = "own-weights"

        def sample(self, instruction, *, n, temperature, max_tokens, seed):
            if max_tokens != 200:
                asked.append(instruction)
            words = next_words([{"content": instruction}])[1]
            return [" ".join(words) or "Nothing."]

    with extraction_suite(tmp_path, "http://127.0.0.1:9/v1", turns=4) as suite:
        result = evaluate_pair(suite.suite.pairs[0], suite, endpoint=Own())
    assert result.extraction.manner == "single prompts"
    assert result.extraction.turns == 4
    assert measured(result).words > 5 * 100
    request = wordings(0, 50)[0]
    assert all(prompt.startswith(f"{request}\n\n") for prompt in asked)


def test_a_base_model_continues_the_text_as_it_stands(tmp_path):
    asked = []

    class Text:
        id = "text"

        def sample(self, instruction, *, n, temperature, max_tokens, seed):
            if max_tokens != 200:
                asked.append(instruction)
            words = next_words([{"content": instruction}])[1]
            return [" ".join(words) or "Nothing."]

    class Base(Text):
        id = "base"
        abilities = Abilities(continuing=Text)

    with extraction_suite(tmp_path, "http://127.0.0.1:9/v1", turns=4) as suite:
        result = evaluate_pair(suite.suite.pairs[0], suite, endpoint=Base())
    assert result.extraction.manner == "plain text"
    assert (result.extraction.openings, result.extraction.turns) == (1, 4)
    assert " ".join(BOOK).startswith(asked[0])
    assert measured(result).words > 5 * 100


def test_words_that_anyone_may_quote_are_not_extracted():
    book = " ".join(BOOK)
    quoted = " ".join(BOOK[200:500])
    whole = extracted_words(book, [book])
    assert (whole.share, whole.words) == (1.0, len(folded_words(book)))
    part = extracted_words(book, [" ".join(BOOK[:700])], [quoted])
    left = len(folded_words(" ".join(BOOK[:200] + BOOK[500:700])))
    assert abs(part.words - left) <= 2
    assert part.share == part.words / (whole.words - len(folded_words(quoted)))


def test_a_conversation_is_not_sent_in_batches(tmp_path):
    with (
        serving(refuses) as server,
        extraction_suite(tmp_path, server.url, batch=True) as suite,
    ):
        result = evaluate_pair(suite.suite.pairs[0], suite)
    assert "a conversation can't be sent in batches" in str(result.verdict_result)


@given(st.integers(0, 5), st.integers(1, 60))
def test_wordings_are_different_and_the_same_for_a_seed(seed, rewordings):
    requests = wordings(seed, rewordings)
    assert len(set(requests)) == len(requests) == rewordings + 1
    assert requests == wordings.__wrapped__(seed, rewordings)
    assert requests[0] == wordings(0, 1)[0]


@pytest.mark.parametrize("behavior", [refuses, recites], ids=["openings", "turns"])
def test_a_dry_run_of_a_stopped_conversation_plans_what_is_left(tmp_path, behavior):
    def planned(url):
        with extraction_suite(tmp_path, url, turns=15) as suite:
            (step,) = plan_run(suite.suite.pairs, lambda pair: suite).steps
        return step.sampling.calls

    with serving(behavior) as server:
        progress = interrupt_when(4)(server)
        assert planned(server.url) == 5 + 51 + 15
        with contextlib.suppress(KeyboardInterrupt):
            extraction(tmp_path, server, turns=15, progress=progress)
        made = len(server.answers)
        every = 51 + 15 if behavior is refuses else 1 + 15
        assert planned(server.url) == every - made


def test_the_words_that_a_restart_shows_are_no_passage(tmp_path):
    """The endpoint repeats what it is shown, and goes on with fifteen words."""

    class Repeats:
        id = "repeats"

        def sample(self, instruction, *, n, temperature, max_tokens, seed):
            shown = instruction.split("\n\n")[-1]
            words = next_words([{"content": instruction}])[1]
            first = [] if BOOK[0] == shown.split()[0] else shown.split()
            return [" ".join([*first, *words[: 15 if first else 30]]) or "Nothing."]

    with extraction_suite(tmp_path, "http://127.0.0.1:9/v1", turns=1) as suite:
        result = evaluate_pair(suite.suite.pairs[0], suite, endpoint=Repeats())
    assert result.extraction.turns == 1
    assert 25 <= result.analysis.passages.longest_passage.words <= 31


def test_a_common_text_excuses_its_words_of_the_book(tmp_path):
    (tmp_path / "quoted.txt").write_text(" ".join(BOOK[200:600]).capitalize() + ".")
    common = {"[[book]]": '[[common]]\nsource = "quoted.txt"\n[[book]]'}
    with (
        serving(recites) as server,
        extraction_suite(tmp_path, server.url, turns=6, replaced=common) as suite,
    ):
        result = evaluate_pair(suite.suite.pairs[0], suite)
    said = "\n\n".join(server.answers)
    whole = near_verbatim(" ".join(BOOK), said)
    excused = len(folded_words(" ".join(BOOK[200:600])))
    matched = sum(block.words for block in whole.blocks)
    assert abs(measured(result).words - (matched - excused)) <= 2
    assert result.analysis.remaining.words.excused >= 390
    assert build_result_without_quotes(result).values["extracted"] < whole.nv_recall


def test_more_samples_of_an_extraction_detect_nothing_more(tmp_path):
    with extraction_suite(tmp_path, "http://127.0.0.1:9/v1") as suite:
        assert build_detection_table(suite).rows == ()
        assert next_usual_samples(suite.suite.pairs) is None
