"""Servers whose answers are hostile: told, in time and within bounds; and never a pass.

The model recites whatever it is asked for. So its verdict is FAIL where an answer can
be read, INCONCLUSIVE where none can, and PASS would be wrong whatever the server sends.
"""

import re
import signal
import time

import pytest
from hostile import ACTS
from hostile_runs import HONEST, meet, patiently, under_way
from hostile_samples import SAMPLES
from reciter import Reciter
from scenarios import SECRETS

DEADLINE = 4.0
MEMORY = 600_000_000
COMMON = [name for name in ACTS if name not in SAMPLES]
EVERY = {"openai": COMMON, "vertex": COMMON, "tinker": [*COMMON, *SAMPLES]}
# The answer is there all the same: what stands beside it is mad, or goes before it.
READ = {
    *(
        "many_cookies",
        "two_answers",
        "1xx_before",
        "wrong_content_type",
        "no_content_type",
    ),
    *(
        "unknown_charset",
        "nan",
        "infinity",
        "too_many_choices",
        "null_usage",
        "negative_usage",
    ),
    *("huge_usage", "usage_of_words", "surrogates", "terminal", "nul", "long_text"),
    *("finish_unknown", "finish_of_objects", "another_model", "another_id"),
    *("many_samples", "stop_unknown", "lists_for_texts"),
}
# What no two clients read alike.
EITHER = {
    "openai": {"long_text"},
    "vertex": {"lists_for_texts", "long_text"},
    "tinker": {*EVERY["tinker"]}
    - {"silence", "nothing", "page", "no_samples", "cut_samples"},
}
PART = 24  # acts in one run
PARTS = [
    pytest.param(kind, acts[first : first + PART], id=f"{kind}-{first}")
    for kind, acts in EVERY.items()
    for first in range(0, len(acts), PART)
]


@pytest.fixture
def mad(scenario, stories):
    """A server of that kind whose model recites, under a name for each act."""

    def start(kind, acts):
        corpus = [record["excerpt_text"] for record in stories["held-out"]]
        names = [f"hostile-{name}-" for name in (HONEST, *acts)]
        return scenario(
            kind, reciter=Reciter(corpus, base_order=9), models=["base", *names]
        )

    return start


@pytest.mark.full
@pytest.mark.parametrize(("kind", "acts"), PARTS)
def test_hostile_answers_get_a_verdict_in_time_and_within_bounds(
    mad, tmp_path, kind, acts
):
    met = meet(mad(kind, acts), tmp_path, acts, deadline=DEADLINE)
    assert met.pairs[HONEST].verdict == "FAIL"
    assert met.code == pytest.ExitCode.TESTS_FAILED
    for name in acts:
        pair = met.pairs[name]
        wrong = f"{name}: {pair}"
        if name not in EITHER[kind]:
            assert pair.verdict == ("FAIL" if name in READ else "INCONCLUSIVE"), wrong
        assert pair.verdict in {"FAIL", "INCONCLUSIVE"}, wrong
        if pair.verdict == "INCONCLUSIVE":
            assert re.search(
                rf"{kind} endpoint .*failed: \w|aren't answers|was requested",
                pair.message,
            )
        assert len(pair.message) < 6000, wrong
        assert pair.seconds < patiently(DEADLINE + 5), wrong
    assert met.memory < MEMORY
    for text in (met.output, *(pair.message for pair in met.pairs.values())):
        assert not re.findall(
            r"Traceback|INTERNALERROR|\x1b|\x07|\u202e|Exception in thread", text
        )
        assert SECRETS[kind] not in text
        assert "hunter2" not in text


@pytest.mark.full
@pytest.mark.parametrize(("kind", "act", "dropped"), [
    ("openai", "endless_text", False), ("tinker", "silence", True),
    *((kind, act, True) for kind in EVERY for act in ("slow_headers", "endless_1xx", "slow_body")),
    # Tinker may still have the answer, and is asked for it.
    *((kind, act, kind == "tinker") for kind in EVERY
      for act in ("endless_server_error", "long_busy_line")),
    *((kind, "deep_lists", False) for kind in EVERY),
])  # fmt: skip
def test_ctrl_c_ends_it_within_three_seconds(mad, tmp_path, kind, act, dropped):
    with under_way(mad(kind, [act]), tmp_path, act) as process:
        for _ in range(1 + dropped):
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(timeout=60) == pytest.ExitCode.INTERRUPTED
        assert time.monotonic() - began < patiently(3)
    output = (tmp_path / "output.txt").read_text("utf-8", "replace")
    assert "; Ctrl-C now drops them, and they may be billed" in output or not dropped
    assert dropped == bool(
        re.search(r"Interrupted: \d calls? dropped, which may be ", output)
    )
    assert "Exception in thread" not in output
