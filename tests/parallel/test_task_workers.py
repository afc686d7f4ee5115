"""Tasks in processes: each task once, and again if its process dies."""

from functools import partial

import pytest
from dying_processes import make_work

from pytest_memleak.parallel.task_workers import run_tasks

pytestmark = pytest.mark.full


@pytest.fixture
def run(tmp_path):
    def go(deaths):
        read = []
        make = partial(make_work, str(tmp_path), deaths)
        results = dict(run_tasks(make, range(8), jobs=2, progress=read.append))
        tries = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
        return results, sum(read), sorted(tries)

    return go


SQUARES = {task: task * task for task in range(8)}


def test_each_task_has_its_result(run):
    assert run(0) == (SQUARES, 80, list("01234567"))


def test_the_task_of_a_dead_process_is_tried_again_once(run):
    assert run(1) == (SQUARES, 80, sorted("012345673"))


def test_a_task_over_which_two_processes_die_has_no_result(run):
    assert run(9) == ({**SQUARES, 3: None}, 70, sorted("012345673"))
