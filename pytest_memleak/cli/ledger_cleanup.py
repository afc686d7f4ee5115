"""`memleak ledger cleanup`: what runs have left standing somewhere, taken down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_memleak.cli.ledger_argument import FOLDER, add_verb, existing

if TYPE_CHECKING:
    import argparse

    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.deployments import OpenDeployment
    from pytest_memleak.ledger.ledger import Ledger

_STILL_OWED = 1


def add_debts(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `debts`."""
    verb = add_verb(verbs, "cleanup", "take down what runs have left deployed")
    verb.add_argument("--json", action="store_true", help="print JSON instead of lines")
    verb.set_defaults(run=_debts)


def _debts(parsed: argparse.Namespace) -> int:
    from pytest_memleak.interfaces.extensions import Extensions
    from pytest_memleak.ledger.deployments import debts
    from pytest_memleak.redaction.text import inert

    with existing(parsed) as ledger:
        extensions = Extensions()
        told = [_paid(debt, ledger, extensions) for debt in debts(ledger)]
    if parsed.json:
        print(json.dumps({"debts": told}, indent=2))
    elif not told:
        print("nothing is deployed")
    else:
        for one in told:
            hourly = one["usd_an_hour"]
            cost = "" if hourly is None else f", US$ {hourly:,.2f} an hour"
            reason = f": {one['reason']}" if one["reason"] else ""
            name = one["endpoint"] or one["operation"] or one["weights"]
            print(inert(f"{one['provider']} {name}{cost}: {one['became']}{reason}"))
    return _STILL_OWED if any(one["became"] != "taken down" for one in told) else 0


def _paid(debt: OpenDeployment, ledger: Ledger, extensions: Extensions) -> dict[str, Any]:
    """What became of a debt, after trying to settle it."""
    from pytest_memleak.errors import LedgerError, MemleakError
    from pytest_memleak.ledger.deployments import debts
    from pytest_memleak.pipeline.endpoints import take_down

    became, reason = "in use", None
    if not debt.in_use:
        try:
            done = take_down(debt, extensions, ledger=ledger, state=Path.cwd() / FOLDER, retry=None)
            became = "taken down" if done else "still owed"
        except LedgerError:
            raise
        except MemleakError as error:
            became, reason = "still owed", error.line
        left = next((one for one in debts(ledger) if one.number == debt.number), None)
        reason = reason or (left.cause if left else None)
    return {
        "provider": debt.provider,
        "weights": debt.weights,
        "endpoint": debt.endpoint,
        "operation": debt.job_id,
        "usd_an_hour": debt.an_hour,
        "became": became,
        "reason": reason,
    }
