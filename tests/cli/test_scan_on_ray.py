"""`memleak scan --ray` finds what one process finds, also where a node is removed."""

import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

import pytest
from scored_books import prose

from pytest_memleak.cli.main import main
from pytest_memleak.errors import install_command
from pytest_memleak.formats import log_shards
from pytest_memleak.library.scan_state import ScanState
from pytest_memleak.parallel.ray_tasks import run_tasks_on_ray

RNG = random.Random(9)
NOVEL = [" ".join(prose(RNG, 100)) for _ in range(30)]
PASSAGE = " ".join(NOVEL[12].split()[10:70])
HARMLESS = " ".join(RNG.choices([f"v{n}" for n in range(900)], k=50))


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    """A novel, and three files of rows, of which every seventh has a passage."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log_shards, "BYTES_OF_SHARD", 4_000)
    Path("novel.txt").write_text("\n\n".join(NOVEL), encoding="utf-8")
    Path("logs").mkdir()
    for name in "abc":
        texts = [PASSAGE if number % 7 == 3 else HARMLESS for number in range(100)]
        rows = [{"prompt": "Go on.", "completion": text} for text in texts]
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        Path(f"logs/{name}.jsonl").write_text(f"{lines}no row\n", encoding="utf-8")


@pytest.fixture
def scan(capsys):
    """Runs the command: exit code, output, and errors."""

    def go(*options):
        capsys.readouterr()
        code = main(["scan", "novel.txt", "--logs", "logs", *options])
        return code, *capsys.readouterr()

    return go


def test_without_ray_the_command_to_install_it_is_named(scan, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = scan("--ray", "auto")
    assert (code, out) == (2, "")
    assert "--ray needs the package 'ray'" in err
    assert f"install it with: {install_command('ray')}" in err


def test_jobs_are_for_this_machine_alone(scan):
    code, _, err = scan("--ray", "auto", "--jobs", "2")
    assert code == 2
    assert "omit it with --ray" in err


def test_a_scan_on_a_local_ray_equals_one_process(scan):
    pytest.importorskip("ray")
    expected = scan("--json")
    assert expected[0] == 3
    assert scan("--json", "--ray", "auto", "--state", "s") == expected
    assert len(list(Path("s").glob("*.json"))) > 12


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "head", ":x"])
def test_an_address_without_a_cluster_is_an_error(scan, address):
    pytest.importorskip("ray")
    code, out, err = scan("--ray", address)
    assert (code, out) == (2, "")
    assert f"{address}: no Ray cluster can be reached" in err


@pytest.fixture
def two_nodes():
    """A cluster of two nodes with a core each; the second can be removed."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.removable = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.mark.full
def test_a_node_that_is_removed_in_mid_run_changes_no_result(
    scan, two_nodes, monkeypatch
):
    expected = scan("--json")
    keep = ScanState.keep
    removal = threading.Thread(target=two_nodes.remove_node, args=[two_nodes.removable])
    kept = []

    def keep_and_remove(state, shard, result):
        keep(state, shard, result)
        kept.append(shard)
        if len(kept) == 2:
            removal.start()

    monkeypatch.setattr(ScanState, "keep", keep_and_remove)
    options = ("--json", "--ray", two_nodes.address, "--state", "s")
    assert scan(*options) == expected
    removal.join()
    assert len(kept) > 12


@pytest.mark.full
def test_a_file_that_a_node_sees_otherwise_is_named(scan, two_nodes, monkeypatch):
    from pytest_memleak.library.ray_scan import PlannedShard

    of = PlannedShard.of

    def of_another_date(shard):
        planned = of(shard)
        if planned.shard.path.name != "b.jsonl":
            return planned
        return PlannedShard(planned.shard, planned.size, planned.modified + 1)

    monkeypatch.setattr(PlannedShard, "of", of_another_date)
    code, out, _ = scan("--json", "--ray", two_nodes.address)
    report = json.loads(out)
    assert code == 3
    assert report["unread_files"] == 1
    causes = {place["cause"] for place in report["unread"] if place["row"] is None}
    assert causes == {"a node of the Ray cluster has no such file, or another one"}
    assert {passage["file"] for passage in report["passages"]} == {
        "logs/a.jsonl",
        "logs/c.jsonl",
    }


@pytest.mark.full
def test_a_task_whose_process_is_killed_is_done_again_without_a_word(
    two_nodes, tmp_path, capsys
):
    mark = tmp_path / "killed"

    def doubled(number):
        if number == 1 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * number

    results = dict(run_tasks_on_ray(doubled, range(3), address=two_nodes.address))
    assert mark.exists()
    assert results == {0: 0, 1: 2, 2: 4}
    assert capsys.readouterr() == ("", "")
