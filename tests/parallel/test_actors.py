"""A local model in actors of a Ray cluster answers as it does at home."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

ray = pytest.importorskip("ray", reason="the extra ray is not installed")

from ray.cluster_utils import Cluster  # noqa: E402

from pytest_memleak.errors import ProviderBusy, ProviderError  # noqa: E402
from pytest_memleak.interfaces.protocols import Completion  # noqa: E402
from pytest_memleak.parallel.ray_scoring import OnRay  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore")]
ASKED = {"n": 2, "temperature": 1.0, "max_tokens": 9}


@pytest.fixture(scope="module")
def on_cluster():
    head = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    cluster.wait_for_nodes()
    with contextlib.closing(OnRay(cluster.address)) as joined:
        yield joined
    cluster.shutdown()


@pytest.fixture(scope="module")
def echo():
    """Makes an endpoint that says what it was asked, and in which process."""

    def make():  # travels by value: this module is not on the nodes
        class Echo:
            def sample(self, instruction, *, n, temperature, max_tokens, seed):
                if instruction == "refuse":
                    raise ProviderError("no", provider="p", endpoint="e", call="sample")
                return [Completion(f"{instruction} {seed + i} {os.getpid()}") for i in range(n)]

        return Echo()

    return make


def test_calls_go_to_all_actors_and_answers_come_back_in_their_places(on_cluster, echo):
    actors = on_cluster.actors(echo, endpoint_id="echo")
    assert actors.concurrency == 2
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(actors.sample, f"q{n}", **ASKED, seed=10 * n) for n in range(20)]
        told = [[one.text.split() for one in each.result()] for each in asked]
    for n, answers in enumerate(told):
        assert [one[:2] for one in answers] == [[f"q{n}", str(10 * n)], [f"q{n}", str(10 * n + 1)]]
    assert len({one[2] for answers in told for one in answers}) == 2
    assert on_cluster.actors(echo, endpoint_id="echo") is actors


def test_what_the_model_raises_is_raised_here(on_cluster, echo):
    actors = on_cluster.actors(echo, endpoint_id="echo")
    with pytest.raises(ProviderError, match="p endpoint e: sample failed: no"):
        actors.sample("refuse", **ASKED, seed=0)


def test_a_lost_actor_is_replaced_and_its_call_is_worth_another_try(on_cluster, tmp_path):
    flag = tmp_path / "lost"

    def make():
        class Dying:
            def sample(self, instruction, *, n, temperature, max_tokens, seed):
                if not flag.exists():
                    flag.touch()
                    os._exit(1)
                return [Completion("alive")]

        return Dying()

    actors = on_cluster.actors(make, endpoint_id="dying")
    with pytest.raises(ProviderBusy, match="lost an actor") as lost:
        actors.sample("q", **ASKED, seed=0)
    assert lost.value.in_doubt is False
    assert [actors.sample("q", **ASKED, seed=0)[0].text for _ in range(4)] == ["alive"] * 4
