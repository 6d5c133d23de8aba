"""Work in threads that stays a little ahead of whoever uses its results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = min(8, os.cpu_count() or 1)
"""Threads. Pillow, numpy and hashlib release the interpreter lock while they work."""


def work_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = WORKERS
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to items in several threads, with a bounded number of results waiting in memory.

    Args:
        function: What to do; an exception of it is raised where its result would have come.
        items: Taken as they are needed.
        workers: Threads.

    Yields:
        Every item with its result, in the order of the items whatever thread is done first.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
