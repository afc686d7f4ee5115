"""Tasks on Ray, with a stand-in that runs them here and talks as Ray does."""

import sys
from types import SimpleNamespace

import pytest

from pytest_memleak.parallel.ray_tasks import AUTO, run_tasks_on_ray

NOTICE = "(raylet) A worker died or was killed while executing a task"


class TalkingRay(SimpleNamespace):
    """Prints for every task that a process of it ended."""

    def __init__(self):
        super().__init__(exceptions=SimpleNamespace(RayTaskError=KeyError))
        self.exceptions.RayError = OSError

    def init(self, **options):
        self.is_running = True

    def shutdown(self):
        self.is_running = False

    def cluster_resources(self):
        return {"CPU": 2}

    def put(self, value):
        return value

    def remote(self, function):
        def run(*arguments):
            return lambda: function(*arguments)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=run))

    def wait(self, running, num_returns):
        print(NOTICE)
        return running[:1], running[1:]

    def get(self, ended):
        return ended()


@pytest.fixture
def ray(monkeypatch):
    stand_in = TalkingRay()
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    return stand_in


def test_what_ray_prints_of_ended_processes_is_no_part_of_a_result(ray, capsys):
    results = dict(run_tasks_on_ray(lambda number: 2 * number, range(9), address=AUTO))
    print("result")
    assert results == {number: 2 * number for number in range(9)}
    assert not ray.is_running
    assert capsys.readouterr() == ("result\n", "")
