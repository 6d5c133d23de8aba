"""One driver for each study in an object store."""

import json
import subprocess
import sys
import threading

import pytest

from analysis.object_store import ObjectStore
from study.errors import StudyFailed, UsageError
from study.lease import Lease, is_held
from tests.study.object_storage import BUCKET


@pytest.fixture
def store(s3, tmp_path):
    return ObjectStore(f"s3://{BUCKET}/{tmp_path.name}", patience=2)


def claims(store):
    return list(store.listing(".lease"))


def test_a_second_process_is_refused_while_the_first_is_alive(store):
    assert not is_held(store)
    with Lease(store, seconds=6).held():
        assert is_held(store)
        with (
            pytest.raises(UsageError, match=r"process \d+ on .* is running this study"),
            Lease(store, seconds=6).held(),
        ):
            pass
        assert len(claims(store)) == 1, "the refused one leaves nothing"
    assert claims(store) == [] and not is_held(store)


def test_of_two_that_start_together_one_runs(store):
    entered, refused, barrier = [], [], threading.Barrier(2)

    def start():
        barrier.wait()
        try:
            with Lease(store, seconds=6).held():
                entered.append(threading.get_ident())
                both_known.wait(30)
        except UsageError:
            refused.append(threading.get_ident())
            both_known.set()

    both_known = threading.Event()
    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == len(refused) == 1


def test_the_claim_of_a_killed_process_of_this_machine_is_in_nobodys_way(store):
    code = "import os, sys; from study.lease import Lease; from analysis.object_store import ObjectStore;"
    code += "Lease(ObjectStore(sys.argv[1]))._take(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, store.url], check=False).returncode == 9
    assert len(claims(store)) == 1
    with Lease(store).held():
        assert len(claims(store)) == 1


def test_the_claim_of_a_lost_machine_expires(store):
    store.write(".lease/lost.json", json.dumps({"host": "gone", "process": 1, "boot": "x", "started": 0}).encode())
    with Lease(store, seconds=2).held():
        assert ".lease/lost.json" not in claims(store)


def test_who_cannot_renew_the_claim_stops_writing(store, s3, monkeypatch):
    lease = Lease(store, seconds=1)
    with lease.held():
        lease.check()
        s3.shares = {"error": 1.0}
        clock = lease._renewed + 1.5
        monkeypatch.setattr("study.lease.time.monotonic", lambda: clock)
        with pytest.raises(StudyFailed, match="another process may run this study by now"):
            lease.check()
        s3.shares = {}
