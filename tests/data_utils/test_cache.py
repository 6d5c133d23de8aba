import errno
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_utils import cache
from data_utils.cache import ImageArrays, cache_root, prepare
from data_utils.config import DataConfig, SyntheticConfig
from data_utils.errors import DataError, UnreadableImage
from data_utils.sources.opening import open_source
from data_utils.sources.source import Source

Write = Callable[..., Path]
CopySubset = Callable[[str, int], Path]


def counts(arrays: cache.ImageArrays, split: str) -> list[int]:
    return np.bincount(arrays.labels[arrays.indices(split)], minlength=5).tolist()


def with_settings(config: DataConfig, **settings: object) -> DataConfig:
    return DataConfig.model_validate({**config.model_dump(), **settings})


# --- splits ---


def test_a_fifth_of_train_is_set_aside_for_testing(config: DataConfig) -> None:
    arrays = prepare(config, "wbc")
    assert (counts(arrays, "train"), counts(arrays, "val"), counts(arrays, "test")) == ([8] * 5, [2] * 5, [2] * 5)
    assert (arrays.validation_origin, arrays.test_origin) == ("folder", "set aside")


def test_the_test_split_does_not_depend_on_names_or_stored_size(config: DataConfig, root: Path) -> None:
    before = prepare(config, "wbc")
    folder = root / "wbc" / "train" / "data" / "Monocyte"
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"renamed{9 - int(path.stem)}.png")
    shutil.rmtree(root / "wbc" / "train" / "mask")
    after = prepare(with_settings(config, stored_size=10), "wbc")
    assert set(before.hashes[before.indices("test")]) == set(after.hashes[after.indices("test")])


def test_without_test_images_nothing_is_set_aside(config: DataConfig) -> None:
    arrays = prepare(with_settings(config, test="none"), "wbc")
    assert counts(arrays, "train") == [10] * 5
    assert arrays.test_origin == "none"


def test_a_test_folder_is_used_or_left_out(config: DataConfig, root: Path) -> None:
    (root / "wbc" / "val").rename(root / "wbc" / "test")
    arrays = prepare(config, "wbc")
    # Validation is now what is missing.
    assert (arrays.validation_origin, arrays.test_origin) == ("set aside", "folder")
    assert (counts(arrays, "train"), counts(arrays, "val"), counts(arrays, "test")) == ([8] * 5, [2] * 5, [2] * 5)
    assert len(prepare(with_settings(config, test="none"), "wbc").indices("test")) == 0


def test_groups_are_not_divided_by_the_test_split(config: DataConfig, root: Path, tmp_path: Path) -> None:
    paths = sorted((root / "wbc" / "train" / "data").rglob("*.png"))
    rows = [f"{path.relative_to(root / 'wbc').as_posix()},patient {int(path.stem) % 5}" for path in paths]
    (tmp_path / "groups.csv").write_text("path,group\n" + "\n".join(rows))
    arrays = prepare(with_settings(config, groups=tmp_path / "groups.csv"), "wbc")
    test, train = (set(arrays.groups[arrays.indices(split)].tolist()) for split in ("test", "train"))
    assert len(test) == 1
    assert len(train) == 4
    assert not test & train


def test_ready_made_subsets_keep_their_share_when_images_are_set_aside(
    config: DataConfig, root: Path, copy_subset: CopySubset
) -> None:
    copy_subset("50", 5)
    shutil.rmtree(root / "wbc" / "val")
    arrays = prepare(config, "wbc")
    assert [counts(arrays, split) for split in ("train", "val", "test")] == [[6] * 5, [2] * 5, [2] * 5]
    assert np.bincount(arrays.labels[arrays.subsets[0.5]]).tolist() == [3] * 5
    assert set(arrays.splits[arrays.subsets[0.5]]) == {"train"}
    for split in ("val", "test"):
        # One of each class comes from the subset (0 to 4), one from the rest.
        inside = [int(Path(path).stem) < 5 for path in arrays.paths[arrays.indices(split)].tolist()]
        assert sum(inside) == 5


def test_whole_unlabelled_images_are_set_aside_for_validation(config: DataConfig, root: Path, write: Write) -> None:
    for i in range(5):
        write(root / "prcc" / f"{i}.png", i, (40, 40))
    arrays = prepare(with_settings(config, tile_size=20), "prcc")
    assert len(arrays) == 20
    assert len(arrays.indices("val")) == 4
    assert len(set(arrays.groups[arrays.indices("val")].tolist())) == 1
    assert arrays.labels.tolist() == [-1] * 20
    assert (arrays.validation_origin, arrays.test_origin) == ("set aside", "none")


def test_background_tiles_in_both_splits_are_dropped_even_when_leaks_are_fatal(config: DataConfig, root: Path) -> None:
    (root / "prcc").mkdir()
    for i in range(5):
        pixels = np.full((20, 40, 3), 255, np.uint8)
        pixels[:, :20] = i
        Image.fromarray(pixels).save(root / "prcc" / f"{i}.png")
    arrays = prepare(with_settings(config, tile_size=20, leaks="fatal"), "prcc")
    assert len(arrays.indices("val")) == 2
    assert len(arrays.indices("train")) == 4
    assert len(arrays.dropped) == 4


# --- leaks, duplicates and unreadable files ---


def test_an_image_in_train_and_val_is_dropped_from_train_and_listed(config: DataConfig, root: Path) -> None:
    data = root / "wbc" / "val" / "data" / "Monocyte" / "0.png"
    shutil.copy(data, root / "wbc" / "train" / "data" / "Monocyte" / "leak.png")
    arrays = prepare(config, "wbc")
    assert arrays.dropped == [("train/data/Monocyte/leak.png", "train", "val/data/Monocyte/0.png")]
    assert "train/data/Monocyte/leak.png" not in arrays.paths
    assert arrays.duplicates == [["train/data/Monocyte/leak.png", "val/data/Monocyte/0.png"]]


def test_leaks_can_be_fatal(config: DataConfig, root: Path) -> None:
    data = root / "wbc" / "val" / "data" / "Monocyte" / "0.png"
    shutil.copy(data, root / "wbc" / "train" / "data" / "Monocyte" / "leak.png")
    with pytest.raises(DataError, match=r"val/data/Monocyte/0\.png and train/data/Monocyte/leak\.png are the same"):
        prepare(with_settings(config, leaks="fatal"), "wbc")


def test_duplicates_in_train_are_kept_on_one_side(config: DataConfig, root: Path) -> None:
    for path in sorted((root / "wbc" / "train" / "data" / "Monocyte").iterdir()):
        shutil.copy(path, path.with_name(f"twin{path.name}"))
    arrays = prepare(with_settings(config, leaks="fatal"), "wbc")
    assert len(arrays.duplicates) == 10
    assert not arrays.dropped
    assert counts(arrays, "test")[3] == 4


def test_unreadable_files_stop_or_are_skipped_and_listed(config: DataConfig, root: Path) -> None:
    image = root / "wbc" / "train" / "data" / "Monocyte" / "5.png"
    image.write_bytes(image.read_bytes()[:200])
    mask = root / "wbc" / "train" / "mask" / "Monocyte" / "0.png"
    mask.write_bytes(b"no mask")
    with pytest.raises(UnreadableImage, match="Monocyte"):
        prepare(config, "wbc")
    arrays = prepare(with_settings(config, unreadable="skip"), "wbc")
    assert [path for path, _ in arrays.unreadable] == [str(mask), str(image)]
    assert len(arrays) == 59
    row = arrays.paths.tolist().index("train/data/Monocyte/0.png")
    assert arrays.mask(row) is None


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_that_lacks_a_class_is_named(config: DataConfig, root: Path, split: str) -> None:
    shutil.copytree(root / "wbc" / "val", root / "wbc" / "test")
    for path in (root / "wbc" / "test").rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    folder = root / "wbc" / split / "data" / "Monocyte"
    bad = [path.write_bytes(b"no image") for path in folder.iterdir()]
    expected = (
        rf"wbc: {split} has no image of Monocyte \({len(bad)} files could not be read.*Add images of it to {split}"
    )
    with pytest.raises(DataError, match=expected):
        prepare(with_settings(config, unreadable="skip"), "wbc")


def test_a_class_too_small_to_set_aside_is_named(config: DataConfig, root: Path) -> None:
    for path in (root / "wbc" / "train" / "data" / "Monocyte").glob("[2-9].png"):
        path.unlink()
    assert counts(prepare(config, "wbc"), "test") == [2, 2, 2, 1, 2]
    (root / "wbc" / "val").rename(root / "val")
    with pytest.raises(DataError, match=r"wbc: val has no image of Monocyte.*to train, or a folder named val"):
        prepare(config, "wbc")
    # Without test images two are enough.
    assert counts(prepare(with_settings(config, test="none"), "wbc"), "val") == [2, 2, 2, 1, 2]
    (root / "val").rename(root / "wbc" / "val")
    (root / "wbc" / "train" / "data" / "Monocyte" / "1.png").unlink()
    (root / "wbc" / "train" / "mask" / "Monocyte" / "1.png").unlink()
    with pytest.raises(DataError, match=r"wbc: test has no image of Monocyte.*or set data\.test: none"):
        prepare(config, "wbc")


@pytest.mark.parametrize("tile_size", [20, 40])
def test_one_unlabelled_image_is_too_few_in_one_tile_and_in_several(
    config: DataConfig, root: Path, write: Write, tile_size: int
) -> None:
    write(root / "prcc" / "only.png", 1, (40, 40))
    with pytest.raises(DataError, match=r"prcc: val has no image.*two image files are needed"):
        prepare(with_settings(config, tile_size=tile_size), "prcc")
    write(root / "prcc" / "another.png", 2, (40, 40))
    assert len(prepare(with_settings(config, tile_size=tile_size), "prcc").indices("val")) == (40 // tile_size) ** 2


def test_unlabelled_images_in_val_alone_are_too_few(config: DataConfig, root: Path, write: Write) -> None:
    write(root / "prcc" / "val" / "a.png", 1)
    write(root / "prcc" / "val" / "b.png", 2)
    with pytest.raises(DataError, match="prcc: train has no image, of 2 in all"):
        prepare(config, "prcc")


def test_a_mask_of_another_size_is_named(config: DataConfig, root: Path) -> None:
    Image.new("L", (5, 6)).save(root / "wbc" / "train" / "mask" / "Monocyte" / "0.png")
    with pytest.raises(
        DataError, match=r"Monocyte/0\.png: its mask is 5x6 px, the image 24x20 px.*mask/Monocyte/0\.png"
    ):
        prepare(config, "wbc")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were built in this test."""
    built: list[Path] = []
    build = cache._build

    def note(config: DataConfig, source: Source, folder: Path, progress: cache.Progress | None) -> None:
        build(config, source, folder, progress)
        built.append(folder)

    monkeypatch.setattr(cache, "_build", note)
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


def test_images_are_reduced_when_stored(config: DataConfig) -> None:
    arrays = prepare(with_settings(config, stored_size=10), "wbc")
    assert arrays.image(0).shape == (10, 12, 3)
    mask = arrays.mask(0)
    assert mask is not None
    assert mask.shape == (10, 12)


def test_a_second_call_opens_without_decoding(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []
    first = prepare(config, "wbc", lambda done, total: steps.append((done, total)))
    assert steps == [(i, 60) for i in range(1, 61)]
    monkeypatch.setattr(cache, "_build", None)
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


def test_the_fingerprint_is_that_of_the_content(config: DataConfig, root: Path, tmp_path: Path) -> None:
    before = prepare(config, "wbc")
    for path in root.rglob("*.png"):
        os.utime(path, (1, 1))
    after = prepare(with_settings(config, cache_dir=tmp_path / "elsewhere"), "wbc")
    assert after.folder.name != before.folder.name
    assert after.fingerprint == before.fingerprint


def test_the_fingerprint_covers_ready_made_subsets_and_class_names(
    config: DataConfig, tmp_path: Path, copy_subset: CopySubset, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprints = [prepare(config, "wbc").fingerprint]
    folder = copy_subset("50", 5)
    fingerprints.append(prepare(config, "wbc").fingerprint)
    (folder / "Monocyte" / "4.png").unlink()
    fingerprints.append(prepare(config, "wbc").fingerprint)
    renamed = open_source(config, "wbc")
    monkeypatch.setattr(renamed, "classes", ("A", "B", "C", "D", "E"))
    monkeypatch.setattr(cache, "open_source", lambda config, domain: renamed)
    fingerprints.append(prepare(with_settings(config, cache_dir=tmp_path / "renamed"), "wbc").fingerprint)
    assert len(set(fingerprints)) == 4


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

    monkeypatch.setattr("data_utils.cache.fcntl.flock", refuse)
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


def test_the_index_needs_no_pickle(config: DataConfig) -> None:
    folder = prepare(config, "wbc").folder
    json.loads((folder / "cache.json").read_text())
    with np.load(folder / "index.npz", allow_pickle=False) as index:
        assert all(index[name].dtype.kind in "iU" for name in index.files)


# --- other sources ---


@pytest.mark.parametrize("domain", ["wbc", "cam16", "prcc"])
def test_generated_images_are_prepared(tmp_path: Path, domain: str) -> None:
    small = SyntheticConfig(
        train=40, validation=20, test=20, cam16_train=10, cam16_validation=4, prcc=6, prcc_validation=2
    )
    arrays = prepare(DataConfig(cache_dir=tmp_path, synthetic=small), domain)
    assert len(arrays) == {"wbc": 80, "cam16": 14, "prcc": 8}[domain]
    assert arrays.validation_origin == "folder"


def test_real_patches(real_data: Path, tmp_path: Path) -> None:
    """A few patches of every class and split, by links; val is taken as given, nothing is in two splits."""
    for split in ("train", "val", "test"):
        for name in ("normal", "tumor"):
            folder = tmp_path / "data" / "cam16" / split / "data" / name
            folder.mkdir(parents=True)
            for path in sorted((real_data / "cam16" / split / "data" / name).iterdir())[:10]:
                (folder / path.name).symlink_to(path)
    arrays = prepare(DataConfig(source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache"), "cam16")
    assert [len(arrays.indices(split)) for split in ("train", "val", "test")] == [20, 20, 20]
    assert arrays.image(0).shape == (96, 96, 3)
    assert 0.2 < arrays.batch(np.arange(60))[0].mean() / 255 < 0.95


def test_real_masked_cells_of_many_sizes(real_data: Path, tmp_path: Path) -> None:
    """Ragged sizes, masks, one basophil, an exact duplicate pair: ordinary, but a basophil is needed to validate too."""
    config = DataConfig(source="folder", root=tmp_path / "data", cache_dir=tmp_path / "cache", test="none")
    wbc = tmp_path / "data" / "wbc"
    wbc.mkdir(parents=True)
    (wbc / "train").symlink_to(real_data / "wbc_masked")
    with pytest.raises(DataError, match="wbc: val has no image of Basophil"):
        prepare(config, "wbc")
    for folder in (real_data / "wbc" / "val" / "data").iterdir():
        (wbc / "val" / "data" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:2]:
            (wbc / "val" / "data" / folder.name / path.name).symlink_to(path)
    arrays = prepare(config, "wbc")
    assert counts(arrays, "val") == [2] * 5
    train = arrays.indices("train")
    assert len(train) + len(arrays.dropped) == 300
    assert all(arrays.has_mask(i) for i in train)
    assert set(np.unique(np.concatenate([arrays.mask(i).ravel() for i in train[:20]]))) <= {0, 128, 255}  # type: ignore[union-attr]  # asserted above
    assert counts(arrays, "train")[0] == 1
    assert len(arrays.duplicates) == 1 + len(arrays.dropped)
    assert arrays.heights.min() < arrays.heights.max()
