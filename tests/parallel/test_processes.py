"""Several processes count as one does."""

import contextlib
from dataclasses import replace

import pytest

from pytest_memleak.errors import Inconclusive, RecordsError
from pytest_memleak.parallel.processes import Processes
from pytest_memleak.records import Origin, Scoring
from pytest_memleak.scoring.analysis import analyze

SCORING = Scoring(k=3, trim=3, span_threshold=8)


@pytest.fixture(scope="module")
def three():
    with contextlib.closing(Processes(3)) as processes:
        yield processes


@pytest.mark.parametrize("scoring", [SCORING, Scoring(k=5, trim=0)])
def test_the_numbers_are_those_of_one_process(three, case, plain, scoring):
    book, generations = case
    canaries = [
        replace(generation, origin=Origin.CANARY) for generation in generations[::7]
    ]
    mixed = [*generations, *canaries]
    together = analyze(book, mixed, scoring, count=three.tally_generations)
    assert plain(together) == plain(analyze(book, mixed, scoring))


def test_nothing_to_count(three, case):
    assert analyze(case[0], [], SCORING, count=three.tally_generations) is None


def test_repeated_and_unreadable_blocks_are_errors_and_the_next_is_counted(
    three, case, plain
):
    book, generations = case

    def broken():
        yield from generations[:200]
        raise RecordsError("the disk is gone")

    for wrong, message in (
        ([*generations, generations[0]], "appears twice"),
        (broken(), "disk"),
    ):
        with pytest.raises(RecordsError, match=message):
            three.tally_generations(book, SCORING, wrong)
        again = analyze(*case, SCORING, count=three.tally_generations)
        assert plain(again) == plain(analyze(*case, SCORING))


@pytest.mark.full
def test_a_process_that_is_killed_leaves_the_pair_inconclusive(case, plain):
    with contextlib.closing(Processes(2)) as two:
        two.tally_generations(*case[:1], SCORING, [])

        def killed_on_the_way():
            for number, one in enumerate(case[1]):
                if number == 100:
                    two._running[0][0].kill()
                    two._running[0][0].join()
                yield one

        with pytest.raises(Inconclusive, match="scoring process ended early"):
            two.tally_generations(case[0], SCORING, killed_on_the_way())
        again = analyze(*case, SCORING, count=two.tally_generations)
        assert plain(again) == plain(analyze(*case, SCORING))
