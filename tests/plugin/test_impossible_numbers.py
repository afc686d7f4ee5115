"""Numbers that no run can have: each reader of bundles rejects them, by one rule."""

from pathlib import Path

import pytest
from evidence_files import WIDE, resealed

from pytest_memleak.cli.main import main


def put(*keys, value):
    def change(bundle):
        place = bundle["pairs"][0]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def shorten(bundle):
    bundle["pairs"][0]["rounds"]["measures"]["bmc"].pop()


def rename(bundle):
    measures = bundle["pairs"][0]["rounds"]["measures"]
    measures["another"] = measures.pop("bmc")


LIKELY = {"start": 0, "end": 9, "log_p": 1.5}
PROBABILITY = {
    "windows": 1,
    "planned": 1,
    "unreadable": 0,
    "fault": "",
    "shares": [],
    "likeliest": [],
}


def probability(**fields):
    return put("probability", value={**PROBABILITY, **fields})


IMPOSSIBLE = (
    (
        put("completeness", "received", value=-1),
        "completeness.received: -1 is negative",
    ),
    (put("completeness", "kinds", "answer", value=-1), "completeness.kinds.answer: -1"),
    (put("book", "words", value=-5), "book.words: -5 is negative"),
    (put("sampled", 0, "refused", value=99), "sampled: 99 refusals of 6 generations"),
    (put("detection", "detection", value=1.5), "detection.detection: 1.5 isn't from 0"),
    (put("detection", "detection", value=1e308), "1e+308 is larger than any number"),
    (put("detection", "clumped", value=-0.1), "detection.clumped: -0.1 isn't from 0"),
    (put("detection", "ranges", "longest_span", value=[9, 3]), "detection.ranges."),
    (put("measures", "bmc", "low", value=2), "measures.bmc: low exceeds high"),
    (put("rounds", "measures", "bmc", value=[]), "rounds.measures: the numbers of"),
    (shorten, "rounds.measures: the numbers of rounds differ"),
    (rename, "rounds.measures: the pair lacks one of these measures"),
    (
        put("rounds", "measures", "bmc", value=[-1, 0, 0]),
        "rounds.measures.bmc: a value",
    ),
    (put("rounds", "units", value=0), "rounds.units: 0"),
    (put("rounds", "variance", value=-1), "rounds: variance or typical is negative"),
    (probability(windows=-1), "probability.windows: -1 is negative"),
    (
        probability(shares=[{"samples": 1, "share": 1.5}]),
        "probability.shares.1: 1.5 isn't from 0 to 1",
    ),
    (probability(likeliest=[LIKELY]), "probability.likeliest: 1.5 is over 0"),
    (put("settings", "samples", value=0), "settings.samples: 0 isn't a number from 1"),
    (put("settings", "probe", value={}), "settings.probe: it has no kind"),
)
READERS = (
    ("verify", "evidence.json"),
    ("compare", "before.json", "evidence.json"),
    ("compare", "evidence.json", "before.json"),
    ("table", "evidence.json"),
    ("table", "evidence.json", "--rows", "curve"),
)


@pytest.fixture
def passed(suite, bundle_of):
    suite(WIDE)
    return bundle_of("evidence.json", passed=2)


def test_every_reader_rejects_impossible_numbers(passed, capsys):
    before = passed.read_bytes()
    Path("before.json").write_bytes(before)
    for change, message in IMPOSSIBLE:
        passed.write_bytes(before)
        resealed(passed, change)
        for reader in READERS:
            capsys.readouterr()
            assert main([*reader]) == 2, (reader, message)
            error = capsys.readouterr().err
            assert "evidence.json: not a bundle: " in error
            assert message in error, error


def test_impossible_numbers_are_no_baseline(passed, gate):
    resealed(passed, IMPOSSIBLE[0][0])
    line = "*--memleak-baseline: evidence.json: not a bundle: pairs.0.completeness.*"
    gate("--memleak-baseline=evidence.json", usage=[line])
