import errno
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_utils import cache
from data_utils.arrays import ImageArrays
from data_utils.cache import prepare
from data_utils.config import DataConfig, cache_root
from data_utils.errors import DataError, UnreadableImage
from data_utils.image_storing import ProgressCallback
from data_utils.sources.source import Source
from tests.data_utils.conftest import with_settings

Write = Callable[..., Path]


# --- policies ---


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were built in this test."""
    built: list[Path] = []
    build = cache.build

    def note(config: DataConfig, source: Source, folder: Path, progress: ProgressCallback | None) -> None:
        build(config, source, folder, progress)
        built.append(folder)

    monkeypatch.setattr(cache, "build", note)
    return built


def test_policies_share_what_is_stored_and_apply_when_it_is_opened(
    config: DataConfig, root: Path, builds: list[Path]
) -> None:
    """`data audit` skips unreadable files: the study that follows decodes nothing again, and still stops."""
    monocytes = root / "wbc" / "train" / "data" / "Monocyte"
    shutil.copy(root / "wbc" / "val" / "data" / "Monocyte" / "0.png", monocytes / "leak.png")
    tolerant = with_settings(config, unreadable="skip")
    first = prepare(tolerant, "wbc")
    with pytest.raises(DataError, match=r"val/data/Monocyte/0\.png and train/data/Monocyte/leak\.png are the same"):
        prepare(with_settings(config, leaks="fatal"), "wbc")
    assert prepare(config, "wbc").folder == first.folder
    assert len(builds) == 1

    (monocytes / "5.png").write_bytes(b"no image")
    messages = []
    for built in (False, True):
        with pytest.raises(UnreadableImage) as caught:
            prepare(config, "wbc")
        messages.append(str(caught.value))
        assert len(prepare(tolerant, "wbc").unreadable) == 1
        assert len(builds) == 2, built
    assert messages[0] == messages[1]


def test_leaks_that_are_fatal_at_first_are_stored_all_the_same(
    config: DataConfig, root: Path, builds: list[Path]
) -> None:
    data = root / "wbc" / "val" / "data" / "Monocyte" / "0.png"
    shutil.copy(data, root / "wbc" / "train" / "data" / "Monocyte" / "leak.png")
    for _ in range(2):
        with pytest.raises(DataError, match="are the same image"):
            prepare(with_settings(config, leaks="fatal"), "wbc")
    assert len(prepare(config, "wbc").dropped) == 1
    assert len(builds) == 1


@pytest.mark.parametrize("policy", ["skip", "fatal"])
def test_a_file_that_can_be_read_again_is_no_longer_skipped(config: DataConfig, root: Path, policy: str) -> None:
    """A change of permissions leaves size and time as they were; here bytes do."""
    path = root / "wbc" / "train" / "data" / "Monocyte" / "5.png"
    good, status = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(good)))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = prepare(with_settings(config, unreadable="skip"), "wbc")
    assert (len(before), before.skipped) == (59, {"train/data/Monocyte/5.png"})
    path.write_bytes(good)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = prepare(with_settings(config, unreadable=policy), "wbc")
    assert (len(after), after.unreadable, after.folder) == (60, [], before.folder)


# --- the folder on disk ---


def test_a_second_call_opens_without_decoding(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []
    first = prepare(config, "wbc", lambda done, total: steps.append((done, total)))
    assert steps == [(i, 60) for i in range(1, 61)]
    monkeypatch.setattr(cache, "build", None)
    again = prepare(config, "wbc", lambda done, total: steps.append((done, total)))
    assert again.fingerprint == first.fingerprint
    assert len(steps) == 60


@pytest.mark.parametrize("settings", [{"stored_size": 10}, {"test": "none"}, {"tile_size": 64}])
def test_settings_that_matter_give_a_new_folder(config: DataConfig, settings: dict[str, object]) -> None:
    assert prepare(config, "wbc").folder != prepare(with_settings(config, **settings), "wbc").folder


def test_augmentation_settings_share_the_folder(config: DataConfig) -> None:
    other = with_settings(config, image_size=64, flip=0.0, crop_scale=(0.5, 1.0))
    assert prepare(config, "wbc").folder == prepare(other, "wbc").folder


def test_a_changed_source_gives_a_new_folder_and_fingerprint(config: DataConfig, root: Path, write: Write) -> None:
    before = prepare(config, "wbc")
    write(root / "wbc" / "train" / "data" / "Basophil" / "3.png", 4711)
    after = prepare(config, "wbc")
    assert after.folder != before.folder
    assert after.fingerprint != before.fingerprint


def test_an_interrupted_build_leaves_nothing_behind(config: DataConfig) -> None:
    def stop(done: int, total: int) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(config, "wbc", stop)
    assert not list(cache_root(config).iterdir())
    assert len(prepare(config, "wbc")) == 60


def test_what_a_killed_build_left_is_never_opened_and_later_removed(config: DataConfig) -> None:
    good = prepare(config, "wbc")
    left = good.folder.with_name(f".{good.folder.name}-building-x")
    good.folder.rename(left)
    (left / "cache.json").unlink()
    recent = left.with_name(left.name + "y")
    shutil.copytree(left, recent)
    past = time.time() - 7200
    for path in [*left.iterdir(), left]:
        os.utime(path, (past, past))
    assert prepare(config, "wbc").fingerprint == good.fingerprint
    assert not left.exists()
    assert recent.exists()  # perhaps another process is at work in it


def build(
    settings: str, barrier: "multiprocessing.synchronize.Barrier", results: "multiprocessing.Queue[tuple[str, int]]"
) -> None:
    config = DataConfig.model_validate_json(settings)
    decoded: list[int] = []
    barrier.wait()
    results.put((prepare(config, "wbc", lambda done, total: decoded.append(done)).fingerprint, len(decoded)))


def test_of_two_processes_that_need_a_cache_at_once_one_builds_it(config: DataConfig) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=build, args=(config.model_dump_json(), barrier, results)) for _ in range(2)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    folders = list(cache_root(config).iterdir())
    assert [folder.name[0] for folder in folders] == ["w"]
    assert {fingerprint for fingerprint, _ in found} == {prepare(config, "wbc").fingerprint}
    assert sorted(decoded for _, decoded in found) == [0, 60]


def test_where_there_are_no_locks_the_first_to_finish_wins(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    first: list[ImageArrays] = []

    def build_meanwhile(done: int, total: int) -> None:
        if done == total and not first:
            first.append(prepare(config, "wbc"))

    assert prepare(config, "wbc", build_meanwhile).folder == first[0].folder
    assert [folder.name[0] for folder in cache_root(config).iterdir()] == ["w"]


def test_a_cache_dir_that_cannot_be_made_is_named(config: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.cache_dir.*cannot be written"):
        prepare(with_settings(config, cache_dir=tmp_path / "file"), "wbc")


def test_the_default_place_is_an_environment_variable_then_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WBC_STUDY_CACHE", str(tmp_path / "named"))
    assert cache_root(DataConfig()) == tmp_path / "named"
    monkeypatch.delenv("WBC_STUDY_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root(DataConfig()) == tmp_path / ".cache" / "wbc-study"
