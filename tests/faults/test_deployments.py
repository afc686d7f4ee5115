"""Open models on machines paid by the hour: whole runs, faults, kills, and what is owed."""

import os
import re
import subprocess
import sys

import pytest
from accounts import contents, settled
from faults import ON_THE_WAY, Fault, FaultKind, on_the_way, server_error, slow
from killed_runs import moments_of
from machines import Timing
from marks import full
from scenarios import DEPLOYED, HOURLY

from pytest_memleak.errors import LedgerError
from pytest_memleak.ledger.deployments import possibly_active_deployments
from pytest_memleak.ledger.ledger import Ledger

DRAWN = "24/24 FAIL"
# Where a run may be when it is killed, by what it has just asked for.
PHASES = {
    "vertex-open": (
        *(
            "tunings.create",
            "tunings.get",
            "endpoints.list",
            "deploy",
            "operations.get",
        ),
        *("endpoints.get", "chat", "endpoints.undeploy", "endpoints.delete"),
    ),
    "together": (
        *(
            "tunes.create",
            "tunes.get",
            "models.get",
            "endpoints.list",
            "endpoints.create",
        ),
        *(
            "deploy",
            "endpoints.get",
            "chat",
            "endpoints.undeploy",
            "deployments.delete",
        ),
        "endpoints.delete",
    ),
}
FAILED = {
    "vertex-open": r"vertex endpoint gs://\S+",
    "together": r"together endpoint projects/\S+",
}
MEMLEAK = "import sys; from pytest_memleak.cli.main import main; sys.exit(main())"


@pytest.fixture(params=DEPLOYED)
def kind(request):
    return request.param


def taken_down(server, *, times=1):
    """So often it was deployed, and nothing of it stands."""
    assert len(server.books.rows("deployment")) == times
    assert server.server.machines.standing() == []


def owed(url):
    try:
        with Ledger(url, create=False) as ledger:
            return possibly_active_deployments(ledger)
    except LedgerError:
        return []  # not even begun


def billed(server):
    gone = {row["endpoint"]: row["at"] for row in server.books.rows("undeployment")}
    return [
        (gone[row["endpoint"]] - row["at"]) / 3600 * HOURLY
        for row in server.books.rows("deployment")
    ]


@pytest.mark.full
def test_a_model_is_tuned_deployed_sampled_and_taken_down(scenario, run, kind):
    """What was planned is at least what is billed, and the ledger has what is billed."""
    server = scenario(kind, polls=0)
    plan = run(server, "--memleak-dry-run", recipe={"epochs": 4}).text
    assert server.calls() == 0
    assert "tuned (deployed for at most 1 h) - - - - - - 3.00" in plan
    outcome = run(server)
    assert outcome.ended == DRAWN
    assert settled(server, outcome.url, samples=6).lost == 0
    taken_down(server)
    assert owed(outcome.url) == []
    [bill], [kept] = billed(server), contents(outcome.url).deployments
    assert bill <= kept.cost / 1e9 < HOURLY  # US$
    [row] = server.books.rows("deployment")
    if kind == "vertex-open":
        assert row["weights"].endswith("/checkpoints/final")
        machine = row["resources"]["dedicated_resources"]["machine_spec"]
        assert machine["machine_type"] == "g2-standard-12"
    assert "still deployed" not in outcome.text
    assert run(server).ended == DRAWN  # what is in the ledger needs no machine
    assert "deployed for" not in run(server, "--memleak-dry-run").text
    taken_down(server)


@pytest.mark.full
def test_a_budget_holds_its_hours(scenario, run, kind):
    server = scenario(kind, polls=0)
    outcome = run(server, "--memleak-budget=2.5")
    assert "INCONCLUSIVE" in outcome.text
    assert (
        "of US$2.50 is spent or reserved; the next call may cost US$3.0000"
        in outcome.text
    )
    taken_down(server, times=0)
    assert owed(outcome.url) == []


@pytest.mark.full
def test_a_failed_deployment_is_an_error_and_its_remains_are_deleted(
    scenario, run, kind
):
    server = scenario(kind, Fault(FaultKind.FAIL, "deploy"), polls=0)
    outcome = run(server)
    assert outcome.result.parseoutcomes() == {"errors": 1}
    pattern = (
        rf"{FAILED[kind]}: deployment \S+ failed: failed: there are no accelerators"
    )
    assert re.search(pattern, outcome.text), outcome.text
    assert server.server.machines.endpoints == {}
    assert owed(outcome.url) == []
    server.plan()
    assert run(server).ended == DRAWN
    taken_down(server, times=2)


@pytest.mark.full
def test_without_waiting_it_is_told_and_the_next_run_goes_on(scenario, run, kind):
    server = scenario(kind, polls=0, timing=Timing(deploys_in=3.0))
    while (
        "deployment projects/" not in (outcome := run(server, "--memleak-no-wait")).text
    ):
        assert "INCONCLUSIVE" in outcome.text  # the fine-tune first
    assert "still deployed: projects/" in outcome.text
    assert f"US${HOURLY:.2f} an hour" in outcome.text
    assert len(owed(outcome.url)) == 1
    assert run(server).ended == DRAWN
    taken_down(server)


@pytest.mark.full
def test_a_server_that_takes_nothing_down_leaves_a_debt_that_is_told(
    scenario, run, kind
):
    server = scenario(kind, polls=0)
    server.plan(server_error("endpoints.undeploy"))
    outcome = run(server, tries=2)
    assert outcome.ended == DRAWN
    assert "still deployed: projects/" in outcome.text
    assert "500 Internal Server Error" in outcome.text
    [debt] = owed(outcome.url)
    assert (debt.in_use, debt.an_hour) == (False, HOURLY)
    server.plan()
    assert run(server).ended == DRAWN
    taken_down(server)
    assert owed(outcome.url) == []


@pytest.mark.full
@pytest.mark.parametrize("what", [way for way in ON_THE_WAY if way != "trickling"])
def test_a_fault_that_strikes_once_is_overcome(scenario, run, kind, what):
    server = scenario(kind, polls=0)
    server.plan(
        *(on_the_way(what, place, calls=(0,), late=2.0) for place in PHASES[kind])
    )
    outcome = run(server, timeout=1.0)
    assert outcome.ended == DRAWN
    settled(server, outcome.url, samples=6)
    taken_down(server)
    assert owed(outcome.url) == []


@pytest.fixture
def start_suite(killed_runs, kind):
    def start(*faults, deploys_in=0.4, lists_in=0.0, operations=True, **settings):
        timing = Timing(deploys_in, lists_in, undeploys_in=0.3, operations=operations)
        return killed_runs(
            kind, *faults, slow("*", seconds=0.05), timing=timing, **settings
        )

    return start


def kill_in(runs, phase, *, after):
    """Kill a run in that phase; the ledger knows whatever stands. Return whether it was killed."""
    killed = runs.kill(phase, after=after)
    machines = runs.scenario.server.machines
    standing = {
        endpoint.display_name.removeprefix("memleak-")
        for endpoint in list(machines.endpoints.values())
        if endpoint.name in machines.standing()
    }
    # Together's names have half of a digest.
    assert standing <= {
        debt.digest[:size] for debt in owed(runs.url) for size in (32, 64)
    }
    return killed


def finish(runs):
    runs.finish(24)
    taken_down(runs.scenario)
    assert owed(runs.url) == []


SHARED = {
    "one process": {},
    "processes": {"workers": 2},
    "postgresql": {"postgresql": True},
}
SHARED["both"] = SHARED["processes"] | SHARED["postgresql"]
MOMENTS = [
    *(("one process", phase) for phase in ("deploy", "chat", "endpoints.undeploy")),
    *(("one process", number) for number in range(20)),
    *((how, moment) for how in [*SHARED][1:] for moment in ("chat", 0, 1, 2)),
]


# Each of xdist's workers imports the SDKs for itself, which takes its time.
@pytest.mark.full
@pytest.mark.parametrize(("how", "moment"), MOMENTS)
def test_killed_runs_leave_nothing_unknown_and_deploy_once(start_suite, how, moment):
    """At a moment by its name, or at some of chance; of one process or several, on any ledger."""
    runs = start_suite(**SHARED[how])
    if isinstance(moment, str):
        kill_in(runs, moment, after=0.02)
    else:
        moments = moments_of(how, moment)
        for phase in moments.sample(PHASES[runs.scenario.kind], moments.randint(1, 3)):
            kill_in(runs, phase, after=moments.uniform(0, 0.15))
    finish(runs)


@pytest.mark.parametrize("shared", [{"pairs": 2}, full(SHARED["processes"])], ids=str)
def test_processes_that_share_a_deployment_put_it_up_once(start_suite, shared):
    """The first one to be done with it leaves it standing for the other."""
    runs = start_suite(**shared)
    finish(runs)
    settled(runs.scenario, runs.url, samples=6)


@pytest.mark.full
def test_an_endpoint_that_is_listed_late_is_waited_for(start_suite):
    """By the default as late as 120 s; here time runs forty times as fast, and it is 30 s late."""
    late = {"deploying": 120 / 40, "lists_in": 30 / 40, "operations": False}
    runs = start_suite(slow("deploy", seconds=1.0), **late)
    assert kill_in(runs, "deploy", after=0.1)
    [debt] = owed(runs.url)
    assert (debt.state, debt.job_id, debt.in_use) == ("starting", None, False)
    finish(runs)


@pytest.mark.full
def test_the_command_takes_down_what_a_killed_run_left(start_suite):
    runs = start_suite()
    assert kill_in(runs, "chat", after=0.0)

    def command():
        environment = {**os.environ, **runs.scenario.environment}
        process = [sys.executable, "-c", MEMLEAK, "ledger", "cleanup"]
        settings = {"capture_output": True, "text": True, "timeout": 120}
        return subprocess.run(
            process, check=False, cwd=runs.folder, env=environment, **settings
        )

    shown = command()
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert re.fullmatch(r"\w+ \S+, US\$[\d.]+ an hour: deleted\n", shown.stdout)
    taken_down(runs.scenario)
    assert command().stdout == "nothing is deployed\n"
