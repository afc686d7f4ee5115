"""Terminal tables: what a run would do and pay, and what sample counts can detect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from pytest_memleak.records.number_format import (
    amount,
    duration_text,
    first_three,
    percent_at_most,
)
from pytest_memleak.redaction.text import inert
from pytest_memleak.reports.console import (
    print_lines,
    print_table_at_full_width,
    text_console,
    unfolded_width,
)
from pytest_memleak.reports.detection_and_chance import detection_limit_caption
from pytest_memleak.sampling.cost_plan import PlannedStep, summed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_memleak.records.measurement import PlannedRounds
    from pytest_memleak.sampling.cost_plan import DetectionTable, RunPlan


_MOST_ROWS = 20
_MOST_REASONS = 10


def plan_table(
    planned: RunPlan,
    *,
    width: int,
    color: bool,
    wrap: bool,
    every: bool = False,
) -> str:
    """Render what a run would still do and pay, a row a step, and what has no estimate.

    in, out, train: tokens, estimated as an upper bound; wrap: fold names, too, at
    `width`; every: whether each step has a row, however many there are
    """
    steps = planned.steps if every else _first_steps_and_sum(planned.steps)
    console, out = text_console(width=width, color=color)
    for close, folded in ((False, False), (True, False), (True, wrap)):
        table = Table(
            box=None,
            pad_edge=False,
            collapse_padding=close,
            header_style="bold",
        )
        table.add_column("pair", overflow="fold")
        for title in ("calls", "generations", "pending", "in", "out", "train", "US$"):
            table.add_column(title, justify="right", no_wrap=True)
        for step in steps:
            what = inert(step.what)
            if folded:
                what = what.replace("/", "/\n", 1).replace(" (", "\n(")
            table.add_row(Text(what), *_cells_of_step(step))
        if unfolded_width(console, table) <= console.width:
            break
    print_table_at_full_width(console, table)
    lines: list[Text] = []
    if planned.steps:
        unpriced = planned.unpriced
        if planned.cost or not unpriced:
            more = ", plus pairs without a price" if unpriced else ""
            console.print(f"Total: at most US${planned.cost:,.2f}{more}")
        if unpriced:
            line = f"Cost unknown: no price for {first_three(unpriced)}."
            lines.append(
                Text(inert(f"{line} Add [model.price] with input and output.")),
            )
    lines += [Text(inert(line)) for line in _time_lines(planned)]
    lines += [Text(inert(line)) for line in _detection_limit_lines(planned.steps)]
    lines += [Text(line) for line in _control_call_lines(planned.if_lost)]
    unmeasured = planned.without_probability
    lines += _left_out_lines(unmeasured, "Not measured", every=every)
    lines += _left_out_lines(planned.obstacles, "Can't estimate", every=every)
    print_lines(console, lines, width=width, wrap=wrap)
    return out.getvalue()


def detection_table(
    power: DetectionTable,
    *,
    width: int,
    color: bool,
) -> str:
    """Render the detection limit and the maximum cost of several sample counts."""
    console, out = text_console(width=width, color=color)
    table = Table(
        box=None,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
    for title in ("samples", "detection\nlimit", "calls", "generations", "US$"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    can_estimate = any(row.generations for row in power.rows)
    rows = power.rows if can_estimate else ()
    for row in rows:
        table.add_row(
            f"{row.samples:,}",
            percent_at_most(row.detection),
            f"{row.calls:,}",
            f"{row.generations:,}",
            "-" if row.cost is None else f"{row.cost:,.2f}",
            Text(inert(row.note and f"({row.note})"), style="dim"),
        )
    if rows:
        print_table_at_full_width(console, table)
    notes = [detection_limit_caption(power.confidence)]
    notes += ["generations: for all pairs, including null books and baseline models"]
    if any(row.cost is None for row in power.rows):
        notes += ["US$: set [model.price] for every model"]
    lines = [Text(note, style="dim") for note in notes if rows]
    lines += [Text(inert(limit)) for limit in power.limits]
    lines += _left_out_lines(power.obstacles, "Can't estimate", every=True)
    print_lines(console, lines, width=width, wrap=True)
    return out.getvalue()


def _left_out_lines(
    reasons: Sequence[object], what: str, *, every: bool
) -> Iterator[Text]:
    """Name what is left out, and why: of many, the first ones, unless `every`."""
    named = reasons
    if len(reasons) > _MOST_REASONS and not every:
        named = reasons[: _MOST_REASONS - 1]
    for reason in named:
        yield Text(f"{what}: {inert(str(reason))}", style="yellow")
    if further := len(reasons) - len(named):
        yield Text(f"{what}: {further} more (-v shows each)", style="yellow")


def _time_lines(planned: RunPlan) -> Iterator[str]:
    """State how long the calls take, if earlier ones show it."""
    if planned.seconds <= 0:
        return
    text = f"Time: about {duration_text(planned.seconds)} at the pace of earlier calls"
    left = len(planned.untimed)
    if left:
        text += f", plus {amount(left, 'pair')} whose model has no earlier calls"
    yield text


def _first_steps_and_sum(steps: Sequence[PlannedStep]) -> Sequence[PlannedStep]:
    """Sum up the steps behind the first ones, where there are many."""
    if len(steps) <= _MOST_ROWS:
        return steps
    first, others = steps[: _MOST_ROWS - 1], steps[_MOST_ROWS - 1 :]
    return [*first, summed(others, f"{len(others)} more (-v shows each)")]


def _detection_limit_lines(steps: Sequence[PlannedStep]) -> Iterator[str]:
    """State the detection limit of the planned samples, once where pairs share it."""
    groups: dict[PlannedRounds, list[str]] = {}
    for step in steps:
        if step.rounds:
            groups.setdefault(step.rounds, []).append(step.what)
    for rounds, pairs in groups.items():
        text = (
            f"{amount(rounds.samples, 'sample')}: detection limit "
            f"{percent_at_most(rounds.detection)} ({100 * rounds.confidence:g}% "
            "confidence)"
        )
        if rounds.needed is not None and rounds.needed > rounds.samples:
            text += (
                f". Set samples = {rounds.needed} to reach detection_limit = "
                f"{rounds.detection_limit:g} even if the provider withholds 1 "
                "generation in 10."
            )
        yield text if len(groups) == 1 else f"{', '.join(pairs)}: {text}"


def _control_call_lines(steps: Sequence[PlannedStep]) -> Iterator[str]:
    """State the most that control calls may be and cost, where any may be due."""
    plans = [step.sampling for step in steps if step.sampling]
    calls = sum(plan.calls for plan in plans)
    if not calls:
        return
    costs = [plan.cost for plan in plans if plan.cost is not None]
    text = f"at most {amount(calls, 'control call')}"
    if len(costs) == len(plans):
        text += f" for at most US${sum(costs):,.2f}"
    yield f"Only if the server loses over 1% of completions: {text} more."


def _cells_of_step(step: PlannedStep) -> list[str]:
    cost, sampling = step.cost, step.sampling
    if sampling is None and step.hours:
        return [*"------", "no price" if cost is None else f"{cost:,.2f}"]
    if sampling is None:
        return ["recorded", *"------"]
    counts = (
        *(sampling.calls, sampling.generations, sampling.pending),
        *(sampling.prompt_tokens, sampling.completion_tokens, step.training_tokens),
    )
    return [
        *(f"{count:,}" for count in counts),
        "no price" if cost is None else f"{cost:,.2f}",
    ]
