"""What was tried on a model and a book, in a line."""

import dataclasses

from pair_results import NOTHING

from pytest_memleak.records import Completeness
from pytest_memleak.records.extraction_facts import ExtractionFacts
from pytest_memleak.results.tried_prompts import tried_lines, tried_prompts

FACTS = ExtractionFacts(51, 51, None, 0, 300, "never opened", "chat")


def result(probe="instruction", *, pair="m/book", received=10, requested=10, **fields):
    settings = NOTHING.settings | {"samples": 5, "probe": {"kind": probe}}
    completeness = Completeness(requested=requested, received=received)
    changed = {"settings": settings, "completeness": completeness, "pair": pair}
    return dataclasses.replace(NOTHING, **(changed | fields))


def model(**fields):
    return dataclasses.replace(NOTHING.model, **fields)


def test_probes_of_one_model_and_book_stand_together():
    extraction = result("extraction", pair="asked/book", extraction=FACTS)
    (line,) = tried_lines([result(), extraction])
    assert line == (
        "tried: instruction, 5 samples; extraction, plain and 50 rewordings: never "
        "opened; not tried: continuation, fine-tuning, probability"
    )


def test_an_opened_book_names_its_rewording_and_turns():
    facts = dataclasses.replace(FACTS, opened_by="rewording-3", openings=4, turns=8)
    (group,) = tried_prompts([result("extraction", extraction=facts)])
    assert group.tried == ("extraction, opened by rewording 3, 8 turns",)


def test_a_conversation_that_was_cut_short_says_how_far_it_came():
    facts = dataclasses.replace(FACTS, openings=5, ended="")
    (group,) = tried_prompts([result("extraction", extraction=facts)])
    assert group.tried == ("extraction, 5 of 51 openings",)


def test_a_finetune_of_the_same_base_is_a_rung_of_its_own():
    tuned = result(pair="tuned/book", model=model(finetune_books=("other",)))
    (group,) = tried_prompts([result(), tuned])
    assert group.tried == (
        "instruction, 5 samples",
        "fine-tuning (instruction, 5 samples)",
    )
    assert "fine-tuning" not in group.not_tried


def test_another_server_or_system_prompt_is_another_model():
    other = result(pair="o/book", model=model(options={"system": "Be brief."}))
    lines = [*tried_lines([result(), result("continuation", model=other.model)])]
    assert lines[0].startswith("tried (m/book): instruction, 5 samples; not tried: ")
    assert lines[1].startswith("tried (m/book): continuation, 5 samples; not tried: ")


def test_what_brought_nothing_wasnt_tried():
    (group,) = tried_prompts([result(received=0)])
    assert group.tried == ()
    (line,) = tried_lines([result(received=4)])
    assert line.startswith("tried: instruction, 4 of 10 generations; not tried: ")


def test_controls_are_not_what_was_tried():
    assert tried_prompts([result(control=True), result(expected="leak")]) == ()
