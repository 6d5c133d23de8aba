"""Work in threads that stays a little ahead of whoever uses its results."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")

DECODING_THREADS = min(8, os.cpu_count() or 1)
"""Number of threads that decode images. Pillow, numpy and hashlib release the interpreter lock while they work."""


def work_ahead(
    function: Callable[[Given], Result], items: Iterable[Given], threads: int = DECODING_THREADS
) -> Iterator[tuple[Given, Result]]:
    """Apply a function to items in several threads, with a bounded number of results waiting in memory.

    Args:
        function: what to do with an item; its exception is raised where its result would have come.
        items: arguments of the function, taken as they are needed.
        threads: number of threads; at most four times as many results wait.

    Yields:
        Each item with its result, in the order of the items whichever thread is done first.
    """
    waiting: deque[tuple[Given, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) >= 4 * threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
