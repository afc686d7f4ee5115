from __future__ import annotations

import threading

import pytest

from pytest_memleak.sampling.deadline import Overdue, within


def test_what_it_returns_or_raises():
    assert within(20, lambda: 5) == 5
    assert within(None, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        within(20, lambda: 1 // 0)


def test_a_call_that_hangs_is_left_behind():
    release, came = threading.Event(), threading.Event()
    late: list[object] = []

    def hang() -> int:
        release.wait(20)
        return 7

    def take(result: object) -> None:
        late.append(result)
        came.set()

    with pytest.raises(Overdue):
        within(0.01, hang, late=take)
    assert late == []
    release.set()
    assert came.wait(20)
    assert late == [7]


def test_an_exception_that_comes_late():
    release, came = threading.Event(), threading.Event()
    late: list[object] = []

    def hang() -> None:
        release.wait(20)
        raise ValueError

    def take(result: object) -> None:
        late.append(type(result))
        came.set()

    with pytest.raises(Overdue):
        within(0.01, hang, late=take)
    release.set()
    assert came.wait(20)
    assert late == [ValueError]


def test_nobody_is_told_late_of_what_came_in_time():
    late: list[object] = []
    assert within(20, lambda: 5, late=late.append) == 5
    assert late == []


def test_hanging_calls_do_not_keep_others_waiting():
    release = threading.Event()
    for _ in range(3):
        with pytest.raises(Overdue):
            within(0.01, lambda: release.wait(20))
    assert [within(20, lambda number=number: number) for number in range(10)] == list(range(10))
    release.set()


def test_many_at_once():
    found: list[int] = []

    def run(number: int) -> None:
        found.extend(within(20, lambda: number) for _ in range(50))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(list(range(8)) * 50)
