"""The object store over real HTTP, with a server that errs, dawdles and hangs up."""

import os
import pickle

import pytest

from analysis import StudyError, load_study
from analysis.records.object_store import ObjectStore, StoreUnreachable, is_remote, join_location, local_copy
from tests.study.object_storage import BUCKET


@pytest.fixture
def store(s3, tmp_path):
    return ObjectStore(f"s3://{BUCKET}/{tmp_path.name}")


def test_locations_are_paths_or_addresses(tmp_path):
    assert is_remote("s3://bucket/x") and not is_remote("runs") and not is_remote(tmp_path)
    assert join_location("s3://bucket/runs/", "pilot") == "s3://bucket/runs/pilot"
    assert join_location(tmp_path, "pilot") == tmp_path / "pilot"


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3://UPPER/x",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "s3://key:secret@bucket/x",
        "s3://b/x?secret=1",
    ],
)
def test_an_address_of_another_form_is_refused_without_showing_secrets(url):
    with pytest.raises(StudyError, match="expected s3://bucket/prefix") as refused:
        ObjectStore(url)
    assert "secret" not in str(refused.value).replace("AWS_SECRET", "")


def test_copies_for_two_purposes_or_addresses_never_share_a_folder():
    folders = [local_copy(url, purpose) for url in ("s3://one/x", "s3://two/x") for purpose in ("read", "run")]
    assert len(set(folders)) == 4 and {folder.name for folder in folders} == {"x"}


def test_what_is_written_is_read_listed_and_deleted(store, tmp_path):
    (tmp_path / "file").write_bytes(b"from a file")
    store.write("records/one", b"1")
    store.upload("two", tmp_path / "file")
    assert store.read("two") == b"from a file"
    assert {key: found.size for key, found in store.listing().items()} == {"records/one": 1, "two": 11}
    assert list(store.listing("records")) == ["records/one"] and store.folders() == ["records"]
    store.delete(["two", "never there"])
    assert list(store.listing()) == ["records/one"]
    store.delete_folder("records")
    assert store.listing() == {}
    with pytest.raises(FileNotFoundError):
        store.read("two")
    assert pickle.loads(pickle.dumps(store)).url == store.url


@pytest.mark.parametrize("fault", ["error", "cut", "lost"])
def test_nothing_is_lost_when_a_third_of_the_answers_is(store, s3, fault):
    s3.shares = {fault: 0.3}
    before = s3.injected[fault]
    for number in range(6):
        store.write(f"{number}", bytes([number]) * 1000)
    assert [store.read(f"{number}") for number in range(6)] == [bytes([number]) * 1000 for number in range(6)]
    assert len(store.listing()) == 6
    assert s3.injected[fault] > before


def test_a_store_that_stays_silent_is_given_up_with_the_reason(store, s3):
    s3.shares = {"error": 1.0}
    impatient = ObjectStore(store.url, patience=0.5)
    with pytest.raises(StoreUnreachable, match="writing x failed for 0 s"):
        impatient.write("x", b"")


def test_a_bucket_that_is_not_there_is_the_users_to_mend(store):
    with pytest.raises(StudyError, match="was refused"):
        ObjectStore("s3://nobody-made-this/x").write("x", b"")


def test_a_mirror_copies_what_changed_and_drops_what_is_gone(store, s3, tmp_path):
    folder = tmp_path / "mirror"
    segment = "records/trials/0000000001-0000000001.jsonl"
    for key in (segment, "manifest.json", "checkpoints/a/w", "old"):
        store.write(key, b"1")
    store.download_tree(folder, leave=lambda key: key.startswith("checkpoints/"))
    assert not (folder / "checkpoints").exists()
    store.delete(["old"])
    store.write("manifest.json", b"2")  # as long as before, and in the same second
    s3.requests.clear()
    store.download_tree(folder, leave=lambda key: key.startswith("checkpoints/"))
    assert (folder / "manifest.json").read_bytes() == b"2" and not (folder / "old").exists()
    assert not [line for line in s3.requests if line.startswith("GET") and "trials" in line], "segments never change"


def test_a_folder_is_published_whole(store, tmp_path):
    (tmp_path / "run" / "report").mkdir(parents=True)
    (tmp_path / "run" / "report" / "index.html").write_text("new")
    store.write("report/gone.html", b"old")
    store.write("records/kept", b"1")
    store.publish(tmp_path / "run", "report")
    assert list(store.listing()) == ["records/kept", "report/index.html"]


def test_a_study_moves_whole(store):
    store.write("study.yaml", b"name: pilot")
    store.write("records/one", b"1")
    aside = ObjectStore(f"{store.url}-aside")
    store.move_to(aside)
    assert store.listing() == {} and list(aside.listing()) == ["records/one", "study.yaml"]


def test_a_key_that_would_leave_the_folder_is_refused(store, tmp_path, monkeypatch):
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", int(os.environ["AWS_ENDPOINT_URL"].rpartition(":")[2]))
    connection.request("PUT", f"/{BUCKET}/{tmp_path.name}/a/%2E%2E/%2E%2E/%2E%2E/evil", b"!")
    assert connection.getresponse().status == 200
    with pytest.raises(StudyError, match="expected names without"):
        store.download_tree(tmp_path / "mirror")
    assert not list(tmp_path.rglob("evil"))


def test_a_study_in_a_store_is_read_like_one_in_a_folder(store, finished):
    store.publish(finished, "records")
    for name in ("study.yaml", "manifest.json", "images.parquet"):
        if (finished / name).is_file():
            store.upload(name, finished / name)
    study = load_study(store.url)
    assert study.winners()["trial_id"].tolist() == load_study(finished).winners()["trial_id"].tolist()
    with pytest.raises(StudyError, match="no study here"):
        load_study(f"{store.url}/nothing")
