"""What is refused before a cluster is asked anything."""

from __future__ import annotations

import pytest

from study.cluster.jobs import JobClient
from study.errors import UsageError
from tests.study.servers import free_port


def test_an_address_where_nothing_answers_is_refused():
    with pytest.raises(UsageError, match="no Ray dashboard answers there"):
        JobClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UsageError, match="expected http://HEAD:8265"):
        JobClient("auto")
