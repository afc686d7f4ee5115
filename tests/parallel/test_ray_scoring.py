"""A Ray cluster counts as one process does, whatever becomes of its nodes."""

import contextlib
import time
from dataclasses import replace

import pytest

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from pytest_memleak.errors import BookError, Inconclusive, RecordsError  # noqa: E402
from pytest_memleak.parallel import ray_scoring  # noqa: E402
from pytest_memleak.parallel.ray_scoring import OnRay  # noqa: E402
from pytest_memleak.records import Scoring  # noqa: E402
from pytest_memleak.scoring.analysis import analyze  # noqa: E402
from pytest_memleak.scoring.catalog_scan import GenerationPrefilter, book_keys, scan_shards  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]
SCORING = Scoring(k=3, trim=3, span_threshold=8)


@pytest.fixture(scope="module")
def cluster():
    head = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def joined(cluster):
    with contextlib.closing(OnRay(cluster.address)) as on_cluster:
        yield on_cluster


def test_the_numbers_are_those_of_one_process(joined, case, plain):
    assert plain(analyze(*case, SCORING, count=joined.tally_generations)) == plain(
        analyze(*case, SCORING)
    )


class Shelf:
    """Books of a library, as they come to where they are scanned."""

    def __init__(self, *books, broken=False):
        self._books, self._broken = books, broken

    def books(self):
        if self._broken:
            raise BookError("it is damaged")
        return [(one.id, book_keys(one, k=SCORING.k)) for one in self._books]


def test_a_catalog_is_read_where_it_is_scanned(joined, case):
    book, generations = case
    shards = [Shelf(*(replace(book, id=f"b{n}{m}") for m in range(2))) for n in range(5)]
    table = GenerationPrefilter([one.text for one in generations], k=SCORING.k)
    told = sorted(joined.scan_shards(shards, table, least=12))
    assert told == sorted(scan_shards(shards, table, least=12))
    assert max(one.longest for shard in told for one in shard.matches) > 12


def test_a_damaged_part_of_a_catalog_is_told(joined, case):
    table = GenerationPrefilter([case[1][0].text], k=SCORING.k)
    with pytest.raises(BookError, match="it is damaged"):
        list(joined.scan_shards([Shelf(case[0]), Shelf(broken=True)], table, least=12))


def test_a_generation_that_comes_twice_is_refused(joined, case):
    book, generations = case
    with pytest.raises(RecordsError, match="appears twice"):
        joined.tally_generations(book, SCORING, [*generations, generations[0]])


def test_a_node_that_is_killed_changes_nothing(cluster, joined, case, plain, monkeypatch):
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    cluster.wait_for_nodes()
    results = []
    first = ray_scoring._first

    def killing(ray, pending):
        result = first(ray, pending)
        results.append(len(pending))
        if len(results) == 2:
            assert pending  # others are under way
            cluster.remove_node(node, allow_graceful=False)
        return result

    monkeypatch.setattr(ray_scoring, "_first", killing)
    together = analyze(*case, SCORING, count=joined.tally_generations)
    assert len(results) > 10
    assert plain(together) == plain(analyze(*case, SCORING))
    deadline = time.monotonic() + 60
    while sum(one["Alive"] for one in ray.nodes()) > 1:  # it takes Ray some seconds to notice
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_a_task_that_is_lost_for_good_leaves_the_pair_inconclusive(joined, case, monkeypatch):
    def lost(book, index, scoring, protected, block):
        import os

        os._exit(1)

    monkeypatch.setattr(ray_scoring, "_count", lost)
    monkeypatch.setattr(ray_scoring, "_RETRIES", 1)
    with pytest.raises(Inconclusive, match="lost a scoring task"):
        joined.tally_generations(case[0], SCORING, case[1][:3])


def test_a_cluster_that_is_not_there_leaves_the_pair_inconclusive(case, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(Inconclusive, match="is unreachable"):
        OnRay("127.0.0.1:1").tally_generations(case[0], SCORING, case[1])
