"""Whether a pair's server delivered what was requested, and what follows if not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_memleak.interfaces.abilities import abilities_of
from pytest_memleak.pipeline.sample_readers import LedgerSamples, RecordedSamples
from pytest_memleak.records import Issue
from pytest_memleak.records.delivery import Delivery, IndependentAnswers
from pytest_memleak.records.number_format import amount
from pytest_memleak.scoring.control_call_count import control_calls_due
from pytest_memleak.scoring.loss_tests import TEST_LEVEL, p_control, p_uneven
from pytest_memleak.verdict.delivery_outcome import DeliveryOutcome

if TYPE_CHECKING:
    from pytest_memleak.ledger.delivered_and_lost import Delivered
    from pytest_memleak.pipeline.counted_generations import CountedGenerations

_RULE = "delivered"


def check_losses(own: CountedGenerations) -> DeliveryOutcome:
    """Check the calls for a pair's own generations, or the rounds of a recording."""
    match own.sampled:
        case RecordedSamples():
            check = _check_recorded_rounds(own)
        case LedgerSamples() as sampled:
            check = _check_ledger_calls(sampled)
        case _:
            check = DeliveryOutcome()
    return replace(check, answers=_independent_answers(own))


def _check_recorded_rounds(own: CountedGenerations) -> DeliveryOutcome:
    """Count the rounds that a recording has of some excerpts and not of others.

    A round without text is one that it lacks.
    """
    rounds = own.rounds
    texts = own.nonempty_by_excerpt
    lost = {excerpt: rounds - count for excerpt, count in texts.items()}
    requested = dict.fromkeys(texts, rounds)
    delivery = Delivery(
        requested=sum(requested.values()),
        lost=sum(lost.values()),
        missing_choices=0,
        p_uneven=p_uneven([*requested.values()], [*lost.values()]),
    )
    issues = _uneven_loss_issues(
        delivery, "supply a file with every generation of each excerpt"
    )
    return DeliveryOutcome(delivery, lost, issues=issues)


def _check_ledger_calls(own: LedgerSamples) -> DeliveryOutcome:
    from pytest_memleak.ledger.delivered_and_lost import count_delivered_and_lost

    source = own.source
    counted = count_delivered_and_lost(
        source.ledger,
        source.endpoint_id,
        own.prompts,
        until=own.until,
    )
    requested, lost = counted.all_requested, counted.all_lost
    due = control_calls_due(requested, lost)
    control = _control_delivery(own, due)
    p = None
    if control is not None:
        p = p_control(requested, lost, control.all_requested, control.all_lost)
    lost_by_excerpt = [counted.lost[name] for name in counted.requested]
    delivery = Delivery(
        requested=requested,
        lost=lost,
        missing_choices=counted.missing_choices,
        p_uneven=p_uneven([*counted.requested.values()], lost_by_excerpt),
        control_requested=control.all_requested if control else 0,
        control_lost=control.all_lost if control else 0,
        p_control=p,
    )
    fix = (
        "check what the server drops, fails, or leaves empty, or test an endpoint "
        "without filters"
    )
    issues = (*_uneven_loss_issues(delivery, fix), *_control_call_issues(delivery, due))
    return DeliveryOutcome(delivery, counted.lost, issues=issues)


def _control_delivery(own: LedgerSamples, due: int) -> Delivered | None:
    """Count what the control calls delivered; None where none are due."""
    from pytest_memleak.ledger.delivered_and_lost import count_delivered_and_lost

    if not due or abilities_of(own.source.endpoint).samples_each:
        return None
    prompts = own.source.control_prompts(own.required.pair, due)
    source = own.source
    return count_delivered_and_lost(
        source.ledger, source.endpoint_id, prompts, until=own.until
    )


def _uneven_loss_issues(delivery: Delivery, fix: str) -> tuple[Issue, ...]:
    if delivery.p_uneven > TEST_LEVEL:
        return ()
    cause = (
        f"{_lost_text(delivery)}; one excerpt lost more than chance allows "
        f"(p = {delivery.p_uneven:.2g})"
    )
    return (Issue(_RULE, cause, fix),)


def _control_call_issues(delivery: Delivery, due: int) -> tuple[Issue, ...]:
    """Return an issue where control calls lose less, or aren't there."""
    if delivery.p_control is None:
        return ()
    control = delivery.control_requested
    if control < due:
        cause = (
            f"{_lost_text(delivery)}, and {due - control:,} of {due:,} control calls "
            "are missing"
        )
        fix = "rerun where the endpoint can be called: control calls show the cause"
        return (Issue(_RULE, cause, fix),)
    if delivery.p_control > TEST_LEVEL:
        return ()
    cause = (
        f"{_lost_text(delivery)}, but of control calls only "
        f"{delivery.control_lost:,} of {control:,} (p = {delivery.p_control:.2g})"
    )
    fix = (
        "a filter may drop completions that quote the book: test an endpoint without "
        "output filters"
    )
    return (Issue(_RULE, cause, fix),)


def _lost_text(delivery: Delivery) -> str:
    requested = amount(delivery.requested, "completion")
    return f"{delivery.lost:,} of {requested} never came or came empty"


def _independent_answers(own: CountedGenerations) -> IndependentAnswers:
    """Count per excerpt what the detection limit counts: answers, not withheld.

    Where one call returned several, they may be alike: it counts as one. Local weights
    sample each by itself.
    """
    answers = own.not_withheld_by_excerpt
    sampled = own.sampled
    if not isinstance(sampled, LedgerSamples):
        return IndependentAnswers(answers)
    source = sampled.source
    if abilities_of(source.endpoint).samples_each:
        return IndependentAnswers(answers)
    # Imported here: recorded answers need no database.
    from pytest_memleak.ledger.delivered_and_lost import answered_calls

    calls = answered_calls(source.ledger, source.endpoint_id, sampled.prompts)
    counts = {
        excerpt: min(count, calls.get(excerpt, count))
        for excerpt, count in answers.items()
    }
    return IndependentAnswers(counts, are_calls=counts != answers)
