"""Every rule of completeness at its boundary, in whole numbers."""

import dataclasses
import random
import re

import pytest
from answer_sets import (
    backwards,
    book_of,
    each,
    honest,
    one_in_seven_short,
    replaced,
    summaries,
)
from corpus import shakespeare

from pytest_memleak.records import FinishReason, Generation, Kind, Verdict
from pytest_memleak.records.verdicts import verdict_with_accepted_refusals
from pytest_memleak.scoring.words import words as words_in

APOLOGY = "I'm sorry, but I can't write that passage."
TEMPLATE = "Write {words} words as {author} would, about {summary}"
REFUSAL = "I'm sorry, but I can't help with summarizing that passage"


def rules(evidence):
    return [issue.rule for issue in evidence.issues]


def shortened(one, count):
    return replaced(one, " ".join(one.text.split()[:count]))


def with_first(generations, count, change):
    """The first `count` generations changed, and all others as they are."""
    return [*map(change, generations[:count]), *generations[count:]]


def test_honest_answers_are_complete(book, answers, weigh):
    evidence = weigh(book, answers)
    assert evidence.complete
    assert evidence.kinds == {**dict.fromkeys(Kind, 0), Kind.ANSWER: 200}
    assert (evidence.requested, evidence.received, evidence.surplus) == (200, 200, 0)
    assert evidence.median_length_ratio == pytest.approx(1, abs=0.05)
    assert evidence.prompt_overlap == 0
    # So they are with one in seven honestly short.
    assert weigh(book, one_in_seven_short(answers)).complete


def test_an_excerpt_that_is_not_sampled_yet_refused_nothing(book, answers, weigh):
    first = answers[0].excerpt_id
    for sampled in ([answer for answer in answers if answer.excerpt_id == first], []):
        evidence = weigh(book, sampled)
        assert rules(evidence)[0] == "all received"
        assert "not sampled yet" in evidence.issues[0].fix
        assert "excerpts without an answer" not in rules(evidence)


def kind_of(weigh, book, answers, text, reason=FinishReason.STOP, **settings):
    """Which kind of generation that text is in the place of the first answer."""
    generations = [replaced(answers[0], text, reason), *answers[1:40]]
    kinds = weigh(book, generations, **settings).kinds
    others = (kind for kind in Kind if kind is not Kind.ANSWER and kinds[kind])
    return next(others) if kinds[Kind.ANSWER] < 40 else Kind.ANSWER


@pytest.mark.parametrize("reason", FinishReason)
def test_only_two_reasons_end_a_whole_answer(reason, book, answers, weigh):
    kind = kind_of(weigh, book, answers, answers[0].text, reason)
    assert kind is (Kind.WITHHELD if reason.withheld else Kind.ANSWER)


@pytest.mark.parametrize("text", ["", " \n", "...", "\u200b\u200b", "—"])
def test_a_text_without_a_word_of_any_script_is_empty(text, book, answers, weigh):
    assert kind_of(weigh, book, answers, text) is Kind.EMPTY
    # An answer that is said to be empty and is not was broken off.
    kind = kind_of(weigh, book, answers, text, FinishReason.EMPTY)
    assert kind is (Kind.WITHHELD if text.strip() else Kind.EMPTY)


def words_of(text):
    return len(words_in(text))


@pytest.mark.full
def test_own_words_tell_short_from_cut_from_answer(book, answers, weigh):
    own = answers[0].text.split()
    expected = words_of(book.excerpts[0].text)
    for count in range(25, 55):  # around a fifth of the 200 words
        text = " ".join(own[:count])
        is_answer = words_of(text) >= expected / 5
        assert kind_of(weigh, book, answers, text) is (
            Kind.ANSWER if is_answer else Kind.SHORT
        )
        assert (
            kind_of(weigh, book, answers, text, FinishReason.LENGTH) is Kind.CUT_EARLY
        )
    for count in range(85, 115):  # around half of them
        text = " ".join(own[:count])
        kind = kind_of(weigh, book, answers, text, FinishReason.LENGTH)
        assert kind is (
            Kind.ANSWER if 2 * words_of(text) >= expected else Kind.CUT_EARLY
        )
        assert kind_of(weigh, book, answers, text) is Kind.ANSWER


def test_a_refusal_is_known_by_the_list_alone(book, answers, weigh):
    assert kind_of(weigh, book, answers, APOLOGY) is Kind.REFUSAL
    # Of 80 words and more it is not a refusal.
    long = " ".join([APOLOGY] * 9)
    assert kind_of(weigh, book, answers, long) is not Kind.REFUSAL


@pytest.mark.parametrize(("excerpts", "kind"), [(2, Kind.SHORT), (3, Kind.REFUSAL)])
def test_an_unknown_refusal_is_known_by_opening_alike_for_three_excerpts(
    excerpts, kind, book, answers, weigh
):
    generations = with_first(
        answers,
        excerpts,
        lambda one: replaced(one, f"Never in my life {one.excerpt_id}"),
    )
    assert weigh(book, generations).kinds[kind] == excerpts


def test_an_echo_is_an_answer_whose_words_are_the_instructions(book, answers, weigh):
    requested = book.excerpts[0].instruction
    assert kind_of(weigh, book, answers, " ".join([requested] * 20)) is Kind.ECHO
    # Seven words of it in a row are own words.
    seven = " ".join(requested.split()[:7])
    mixed = " ".join(f"{seven} {word}" for word in answers[0].text.split()[:60])
    assert kind_of(weigh, book, answers, mixed) is not Kind.ECHO


def test_a_text_for_three_excerpts_is_canned(book, answers, weigh):
    for excerpts, kind in ((2, Kind.ANSWER), (3, Kind.CANNED)):
        generations = with_first(
            answers, excerpts, lambda one: replaced(one, answers[-1].text[:1500])
        )
        assert weigh(book, generations).kinds[kind] >= excerpts


def test_half_of_the_runs_may_be_shared(book, answers, weigh):
    stock = answers[-1].text.split()[:200]
    own = [answer.text.split()[:200] for answer in answers[40:43]]

    def shared(stocked, owned):
        texts = [" ".join(stock[:stocked] + words[:owned]) for words in own]
        return [*map(replaced, answers, texts), *answers[3:-1]]

    assert weigh(book, shared(180, 200)).kinds[Kind.CANNED] == 0
    assert weigh(book, shared(200, 170)).kinds[Kind.CANNED] == 3


@pytest.mark.parametrize(("recited", "canned"), [(19, 3), (20, 0)])
def test_twenty_words_of_the_book_are_no_canned_answer(
    recited, canned, book, answers, weigh
):
    passage = " ".join(book.excerpts[5].text.split()[50:90])
    text = f"{answers[-1].text[:1500]} zzz {' '.join(words_in(passage)[:recited])} zzz"
    generations = with_first(answers[:-1], 3, lambda one: replaced(one, text))
    assert weigh(book, generations).kinds[Kind.CANNED] == canned


def test_one_stretch_that_is_no_prose_makes_an_answer_unreadable(book, answers, weigh):
    words, noise = answers[0].text.split(), [f"q{at}x" for at in range(100)]
    assert kind_of(weigh, book, answers, " ".join(words[:300])) is Kind.ANSWER
    # The last stretch ends where the answer ends, so that nothing is left after it.
    for text in (
        words[:200] + noise,
        words[:201] + noise[:90],
        noise[:99],
        "aiaiu" * 40,
    ):
        assert kind_of(weigh, book, answers, " ".join(text)) is Kind.UNREADABLE
    # Short books are not judged by prose, and say so.
    small = book_of("small", shakespeare(), words=60, excerpts=6)
    evidence = weigh(small, each(honest(small, shakespeare()[100_000:], 10), backwards))
    assert evidence.complete
    assert any("not judged" in note for note in evidence.notes)


@pytest.mark.parametrize("mode", ["paper", "unicode"])
def test_words_joined_to_over_40_letters_make_an_answer_unreadable(
    mode, book, answers, weigh
):
    prose = " ".join(answers[0].text.split()[:300])
    passage = "".join(re.findall("[A-Za-z]+", book.excerpts[3].text))
    for length, kind in ((40, Kind.ANSWER), (41, Kind.UNREADABLE)):
        text = f"{prose} {passage[:length]}"
        assert kind_of(weigh, book, answers, text, words=mode) is kind


@pytest.mark.parametrize(
    "word",
    [
        "the-" * 20 + "end",
        "https://example.org/wiki/List_of_all_towns_that_stood_by_the_river_in_1850?x=1",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "_" * 60,
        "第3章" + "長い文が続く" * 10,
    ],
)
def test_long_addresses_and_chains_are_answers(word, book, answers, weigh):
    text = " ".join([*answers[0].text.split()[:300], word])
    assert kind_of(weigh, book, answers, text) is Kind.ANSWER


def test_a_long_word_of_the_book_is_readable(answers, weigh):
    word = "bababadalgharaghtakamminarronnkonnbronntonner"
    plays = [*shakespeare()]
    plays[70] = word
    own = book_of("plays", plays, excerpts=20)
    text = " ".join([*answers[0].text.split()[:300], word.upper()])
    assert kind_of(weigh, own, answers, text) is Kind.ANSWER


@pytest.mark.parametrize(("short", "complete"), [(50, True), (51, False)])
def test_a_quarter_may_be_short(short, complete, book, answers, weigh):
    spread = random.Random(0).sample(range(200), short)
    generations = [
        shortened(one, 30) if at in spread else one for at, one in enumerate(answers)
    ]
    evidence = weigh(book, generations)
    assert evidence.kinds[Kind.SHORT] == short
    assert rules(evidence) == ([] if complete else ["short"])


@pytest.mark.parametrize("share", [0.29, 0.57, 0.07, 0.05, 0.0])
def test_a_share_is_taken_as_written(share, book, answers, weigh):
    allowed = round(200 * share)
    for count in (allowed, allowed + 1):
        generations = with_first(answers, count, lambda one: replaced(one, ""))
        result = rules(weigh(book, generations, max_unanswered=share))
        assert ("unanswered" in result) is (count > allowed)


@pytest.mark.parametrize(("excerpts", "more", "complete"), [
    (10, 4, True), (10, 5, False), (19, 9, True), (19, 10, False), (9, 0, False), (20, 1, False),
])  # fmt: skip
def test_one_of_ten_to_nineteen_excerpts_may_have_no_answer(
    excerpts, more, complete, weigh
):
    book = book_of("plays", shakespeare(), excerpts=excerpts)
    generations = honest(book, shakespeare()[100_000:], 10)
    changed = [
        replaced(one, "") if one.excerpt_id == "p_id1" or 1 <= at <= more else one
        for at, one in enumerate(generations)
    ]
    assert weigh(book, changed).complete is complete


def test_an_issue_counts_refusals_and_quotes_withheld_words(book, answers, weigh):
    (issue,) = weigh(
        book, with_first(answers, 20, lambda one: replaced(one, APOLOGY))
    ).issues
    assert issue.cause == (
        "20 of 200 generations aren't answers (20 refusals); max_unanswered = 0.05"
    )
    assert "accept_refusals" in issue.fix
    end = {
        "finish_reason": FinishReason.UNKNOWN,
        "finish_word": "gu\x1b[31m",
        "text": "",
    }
    generations = with_first(answers, 20, lambda one: dataclasses.replace(one, **end))
    (issue, *_) = weigh(book, generations).issues
    assert "finish reasons of withheld text: 20 gu\\x1b[31m" in issue.cause


def test_the_median_yield_is_half(book, answers, weigh):
    evidence = weigh(book, [shortened(answer, 75) for answer in answers])
    assert rules(evidence) == ["median length ratio"]
    assert "raise max_tokens" in evidence.issues[0].fix
    refused = weigh(book, [replaced(answer, APOLOGY) for answer in answers]).issues
    (issue,) = (issue for issue in refused if issue.rule == "median length ratio")
    assert "accept_refusals" in issue.fix
    # Exactly half, of an even number.
    small = book_of("small", shakespeare(), excerpts=1)
    expected = words_of(small.excerpts[0].text)
    low = expected // 2 - 40
    source = [w for w in shakespeare()[100_000:140_000] if words_of(w) == 1]
    for own, broken in ((expected, False), (expected - 1, True)):
        texts = " ".join(source[:low]), " ".join(source[500:][: own - low])
        generations = [Generation("p_id1", n, text) for n, text in enumerate(texts)]
        assert (
            "median length ratio" in rules(weigh(small, generations, samples=2))
        ) is broken


@pytest.mark.parametrize(("excerpts", "without", "complete"), [
    (20, 1, True), (20, 2, False), (9, 0, True), (9, 1, False), (10, 1, True), (40, 2, True),
])  # fmt: skip
def test_one_excerpt_in_twenty_may_have_no_answer(excerpts, without, complete, weigh):
    one_book = book_of("kjv", shakespeare(), excerpts=excerpts)
    gone = {f"p_id{number}" for number in range(1, without + 1)}
    generations = [
        shortened(answer, 30) if answer.excerpt_id in gone else answer
        for answer in honest(one_book, shakespeare()[100_000:], 4)
    ]
    result = rules(weigh(one_book, generations, samples=4))
    assert ("excerpts without an answer" not in result) is complete


@pytest.mark.parametrize(("withheld", "noticed"), [(5, False), (6, True)])
def test_half_of_one_excerpts_generations_may_be_withheld(
    withheld, noticed, book, answers, weigh
):
    its = [answer for answer in answers if answer.excerpt_id == "p_id3"]
    kept = [answer for answer in answers if answer not in its[:withheld]]
    gone = [
        replaced(answer, "", FinishReason.CONTENT_FILTER) for answer in its[:withheld]
    ]
    assert ("withheld per excerpt" in rules(weigh(book, kept + gone))) is noticed


def test_a_file_without_finish_reasons_is_taken_as_whole_and_says_so(
    book, answers, weigh
):
    untold = [
        replaced(answer, answer.text, FinishReason.UNSTATED) for answer in answers
    ]
    evidence = weigh(book, untold)
    assert evidence.complete
    assert (
        "no generation has a finish reason, so all count as complete" in evidence.notes
    )
    assert weigh(book, [answers[0], *untold[1:]]).kinds[Kind.WITHHELD] == 199


def test_sampling_is_judged_over_zero_and_where_no_limit_is_broken(
    book, answers, weigh
):
    first = {answer.excerpt_id: answer.text for answer in reversed(answers)}
    same = [replaced(answer, first[answer.excerpt_id]) for answer in answers]
    for settings in ({}, {"temperature": None}):
        broken = rules(weigh(book, same, **settings))
        assert broken == ["distinct answers", "distinct 8-word runs"]
    assert weigh(book, same, temperature=0.0).complete
    assert weigh(book, same, over_limit=True).complete
    assert weigh(
        book, [answer for answer in same if answer.ordinal == 0], samples=1
    ).complete


def test_more_than_half_of_the_answers_must_be_distinct(book, answers, weigh):
    first = {(answer.excerpt_id, answer.ordinal): answer.text for answer in answers}
    for distinct, complete in ((5, False), (6, True)):
        generations = [
            replaced(
                answer, first[answer.excerpt_id, min(answer.ordinal, distinct - 1)]
            )
            for answer in answers
        ]
        assert weigh(book, generations).complete is complete


def told_by(book, instruct):
    excerpts = tuple(
        dataclasses.replace(excerpt, instruction=instruct(at, excerpt))
        for at, excerpt in enumerate(book.excerpts)
    )
    return dataclasses.replace(book, excerpts=excerpts)


@pytest.mark.parametrize(("own", "broken"), [(10, []), (9, ["instructions"])])
def test_an_instruction_needs_ten_words_beyond_its_template(
    own, broken, book, answers, weigh
):
    given_texts = list(summaries([excerpt.text for excerpt in book.excerpts], own))
    form = "Write {} words as nobody would, about {}".format
    requested = told_by(
        book, lambda at, one: form(len(one.text.split()), given_texts[at])
    )
    assert rules(weigh(requested, answers, template=TEMPLATE)) == broken
    assert weigh(
        requested, answers
    ).complete  # of another form: all its words are its own
    assert weigh(requested, answers, template=TEMPLATE, continuation=True).complete


@pytest.mark.parametrize(("excerpts", "wrong", "broken"), [
    (20, 10, []), (20, 12, ["instruction match"]), (10, 5, []), (10, 7, ["instruction match"]),
    (4, 2, []), (8, 8, ["instruction match"]), (3, 3, []),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["refused", "shifted", "foreign"])
def test_half_of_the_instructions_must_aim_at_their_own_excerpt(
    kind, excerpts, wrong, broken, weigh
):
    book = book_of("plays", shakespeare(), excerpts=excerpts)
    given_texts = [excerpt.instruction for excerpt in book.excerpts]
    foreign = book_of("b", shakespeare()[60_000:], excerpts=20)
    others = [excerpt.instruction for excerpt in foreign.excerpts]
    given_texts[:wrong] = {
        "refused": [REFUSAL] * wrong,
        "shifted": [*given_texts[1:wrong], given_texts[0]],
        "foreign": others[:wrong],
    }[kind]
    requested = told_by(book, lambda at, _: given_texts[at])
    evidence = weigh(requested, honest(book, shakespeare()[100_000:], 2), samples=2)
    assert rules(evidence) == broken
    right = {margin.rule: margin.value for margin in evidence.margins}.get(
        "instruction match"
    )
    if excerpts < 4:
        assert right is None
    else:  # of the others, one may be right by chance
        assert excerpts - wrong <= round(right * excerpts) <= excerpts - wrong + 1


def test_an_excerpt_without_instruction_is_an_issue(book, answers, weigh):
    mute = told_by(book, lambda at, one: None if at < 2 else one.instruction)
    (issue,) = weigh(mute, answers).issues
    assert issue.cause.startswith("no instruction for 2 of 20 excerpts (p_id1)")
    few = weigh(
        told_by(book, lambda at, one: one.instruction if at < 2 else None), answers[:8]
    )
    assert [issue.rule for issue in few.issues] == [
        "instructions"
    ]  # aim, count and answers follow


@pytest.mark.parametrize(("count", "trim", "complete"), [
    (2, 5, True), (3, 5, False), (20, 5, False), (20, 0, True), (2, 2, True),
])  # fmt: skip
def test_a_tenth_of_the_words_may_be_given_away(
    count, trim, complete, book, answers, weigh
):
    all_told = told_by(
        book, lambda at, one: one.instruction + f" {one.text}" * (at < count)
    )
    result = rules(weigh(all_told, answers, trim=trim, max_prompt_overlap=0.11))
    assert ("prompt overlap" not in result) is complete


@pytest.mark.parametrize(("refusing", "words"), [
    (200, "PASS, 100% refused"), (194, "PASS, 97% refused"), (1, "PASS, under 1% refused"),
])  # fmt: skip
def test_a_model_that_refuses_passes_where_that_is_accepted(
    refusing, words, book, answers, weigh
):
    generations = with_first(answers, refusing, lambda one: replaced(one, APOLOGY))
    evidence = weigh(book, generations, accept_refusals=True)
    assert (evidence.complete, evidence.refused) == (True, refusing / 200)
    assert verdict_with_accepted_refusals(Verdict.PASS, evidence) == words
    otherwise = weigh(book, generations)
    assert otherwise.complete is (refusing == 1)
    assert verdict_with_accepted_refusals(Verdict.PASS, otherwise) == "PASS"
