"""One driver for each study in an object store."""

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from analysis.records.object_store import ObjectStore
from study.errors import StudyFailed, UsageError
from study.storage.lease import Lease, is_held
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


def test_of_several_that_start_together_one_runs(store):
    # Again and again: whether their claims meet is a matter of milliseconds.
    for count in (2, 2, 2, 2, 3, 3):
        entered, refused = [], []
        barrier, all_known = threading.Barrier(count), threading.Event()

        def start(count=count, entered=entered, refused=refused, barrier=barrier, all_known=all_known):
            barrier.wait()
            try:
                with Lease(store, seconds=3).held():
                    entered.append(threading.get_ident())
                    all_known.wait(60)
            except UsageError:
                refused.append(threading.get_ident())
                if len(refused) == count - 1:
                    all_known.set()

        threads = [threading.Thread(target=start) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(entered), len(refused)) == (1, count - 1)
        assert claims(store) == []


def test_who_only_tries_is_waited_for_and_does_not_refuse(store):
    rival = Lease(store, seconds=3)
    store.write(rival._key, rival._claim(holds=False))

    def try_again_and_go() -> None:
        time.sleep(0.3)
        store.write(rival._key, rival._claim(holds=False))
        time.sleep(0.6)
        rival._withdraw()

    other = threading.Thread(target=try_again_and_go)
    other.start()
    with Lease(store, seconds=3).held():
        other.join()
        assert len(claims(store)) == 1


@pytest.fixture
def waited(store, monkeypatch):
    """The claims that were there each time that somebody waited for one."""
    seen = []

    def look_and_sleep(seconds: float) -> None:
        seen.append(claims(store))
        time.sleep(seconds)

    monkeypatch.setattr("study.storage.lease.sleep", look_and_sleep)
    return seen


def test_the_claim_of_a_killed_process_of_this_machine_is_in_nobodys_way(store, waited):
    code = (
        "import os, sys; from study.storage.lease import Lease; from analysis.records.object_store import ObjectStore;"
    )
    code += "Lease(ObjectStore(sys.argv[1]))._acquire(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, store.url], check=False).returncode == 9
    assert len(claims(store)) == 1
    with Lease(store).held():
        assert len(claims(store)) == 1
    assert waited == []


@pytest.mark.parametrize("earlier_by", [1.5, 60])
def test_the_claim_of_an_earlier_process_with_the_same_number_is_in_nobodys_way(store, waited, earlier_by):
    earlier = Lease(store)
    claim = json.loads(earlier._claim(holds=True))
    store.write(earlier._key, json.dumps({**claim, "started": claim["started"] - earlier_by}).encode())
    with Lease(store).held():
        assert earlier._key not in claims(store)
    assert waited == []


@pytest.mark.parametrize("elsewhere", [{"host": "a container"}, {"boot": "another"}])
def test_a_claim_from_elsewhere_is_waited_for_whatever_the_process_numbers_are_here(store, waited, elsewhere):
    """Containers of one machine share its kernel, and clones of a machine its name; neither knows the other's processes."""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    claim = json.loads(Lease(store)._claim(holds=True)) | {"process": int(gone.stdout), "started": 0}
    store.write(".lease/elsewhere.json", json.dumps(claim | elsewhere).encode())
    with Lease(store, seconds=2).held():
        assert ".lease/elsewhere.json" not in claims(store), "it was not renewed"
    assert ".lease/elsewhere.json" in waited[0]


@pytest.mark.parametrize(("age", "is_waited_for"), [(2.5, True), (3.2, False)])
def test_a_claim_expires_a_second_after_its_time(store, waited, monkeypatch, age, is_waited_for):
    """Stores may give times in whole seconds."""
    lost = {"host": "gone", "process": 1, "boot": "x", "started": 0, "holds": True}
    store.write(".lease/lost.json", json.dumps(lost).encode())
    listing, written = ObjectStore.listing, list[int]()

    def age_the_lost(self, prefix):
        found = listing(self, prefix)
        if ".lease/lost.json" in found:
            written.append(max(each.time_ns for each in found.values()) - int(age * 1e9))
            found[".lease/lost.json"] = replace(found[".lease/lost.json"], time_ns=written[0])
        return found

    monkeypatch.setattr(ObjectStore, "listing", age_the_lost)
    with Lease(store, seconds=2).held():
        assert ".lease/lost.json" not in claims(store)
    assert bool(waited) is is_waited_for


def test_the_claim_of_a_lost_machine_expires(store):
    store.write(
        ".lease/lost.json",
        json.dumps({"host": "gone", "process": 1, "boot": "x", "started": 0, "holds": True}).encode(),
    )
    with Lease(store, seconds=2).held():
        assert ".lease/lost.json" not in claims(store)


def test_who_cannot_renew_the_claim_stops_writing(store, s3, monkeypatch):
    now = 0.0
    monkeypatch.setattr("study.storage.lease.monotonic", lambda: now)
    lease = Lease(store, seconds=60)
    with lease.held():
        s3.shares = {"error": 1.0}
        now = 59.0
        lease.check()
        now = 61.0
        with pytest.raises(StudyFailed, match="another process may run this study by now"):
            lease.check()
        s3.shares = {}
