"""Samples on a disk of 80 MB that another program fills while all calls are in flight.

python full_disk.py FOLDER    prints what was received and what the ledger holds
"""

import json
import os
import sys
import threading
from pathlib import Path

import sqlalchemy as sa
from by_hand import a_book, count_words
from scripted import Sampler, Scripted, sample_all

from pytest_memleak.errors import LedgerError
from pytest_memleak.interfaces.protocols import Completion
from pytest_memleak.ledger.call_reservations import CallTerms
from pytest_memleak.ledger.ledger import Ledger
from pytest_memleak.ledger.prompts import build_prompts
from pytest_memleak.ledger.tables import calls
from pytest_memleak.records import Sampling
from pytest_memleak.sampling.retry import Retry

AT_ONCE = 8


def fill(folder):
    with (folder / "another-program").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                return


def main(folder):
    url = f"sqlite:///{folder}/ledger.db"
    in_flight = threading.Barrier(AT_ONCE, action=lambda: fill(folder))
    received = []

    def answer(request):
        if request.number < AT_ONCE:
            in_flight.wait(20)
        received.append(request.number)
        return [Completion(os.urandom(100_000).hex())]  # which no ledger can pack

    settings = Sampling(samples=AT_ONCE)
    prompts = build_prompts("model/book", a_book(4), settings, words=count_words)
    terms = CallTerms(Sampler("scripted", AT_ONCE), (1, 1))
    message = ""
    with Ledger(url) as ledger:
        try:
            retry = Retry(deadline=20.0, first=0.0, poll=0.0)
            sample_all(ledger, Scripted(answer), prompts, retry, terms)
        except LedgerError as error:
            message = str(error)
    (folder / "another-program").unlink()
    with Ledger(url, create=False) as ledger:
        rows = ledger.rows(sa.select(calls.c.state, calls.c.cause))
    states = [[row.state, row.cause] for row in rows]
    print(json.dumps({"received": len(received), "message": message, "calls": states}))


main(Path(sys.argv[1]))
