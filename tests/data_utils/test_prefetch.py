"""Results come in order, a little ahead, and errors come where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import pytest

from data_utils.prefetch import work_ahead


def test_results_come_in_the_order_of_the_items_whatever_is_done_first() -> None:
    second_done = Event()

    def square(item: int) -> int:
        # The first can only end after the second.
        if item == 0:
            assert second_done.wait(30)
        if item == 1:
            second_done.set()
        return item * item

    assert list(work_ahead(square, range(50), threads=2)) == [(i, i * i) for i in range(50)]


def test_no_more_items_are_taken_than_fit_in_the_bound() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    results = work_ahead(lambda item: item, items(), threads=2)
    next(results)
    assert taken <= 8
    results.close()  # type: ignore[attr-defined]  # a generator; what still waits is given up


def test_an_error_is_raised_where_its_result_would_have_come() -> None:
    def invert(item: int) -> float:
        return 1 / item

    results = work_ahead(invert, [2, 1, 0, 4], threads=2)
    assert [next(results), next(results)] == [(2, 0.5), (1, 1.0)]
    with pytest.raises(ZeroDivisionError):
        next(results)
