"""Generated images must be reproducible, shared out as in the coursework and true to the morphology of their class."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_utils.config import SyntheticConfig
from data_utils.errors import DataError
from data_utils.sources import CLASSES
from data_utils.synthetic import SyntheticSource

DOMAINS = ["wbc", "cam16", "prcc"]


@pytest.fixture(scope="module")
def smears() -> SyntheticSource:
    return SyntheticSource(SyntheticConfig(train=600), "wbc")


def _of_class(source: SyntheticSource, name: str, count: int, *, masked: bool = False) -> list[int]:
    label = source.classes.index(name)
    chosen = [i for i, item in enumerate(source.items) if item.label == label and (not masked or source.has_mask(i))]
    return chosen[:count]


def _cell_pixels(source: SyntheticSource, i: int, value: int) -> NDArray[np.float64]:
    mask = source.read_mask(i)
    assert mask is not None
    return source.read(i)[mask == value].astype(float)


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_seed_gives_the_same_bytes_in_any_order(domain: str) -> None:
    one, other = (SyntheticSource(SyntheticConfig(seed=5), domain) for _ in range(2))
    forward = [one.read(i).tobytes() for i in (0, 1, 2)]
    backward = [other.read(i).tobytes() for i in (2, 1, 0)]
    assert forward == backward[::-1]
    assert one.identity == other.identity


@pytest.mark.parametrize("domain", DOMAINS)
def test_another_seed_gives_other_images_and_another_identity(domain: str) -> None:
    one, other = (SyntheticSource(SyntheticConfig(seed=seed), domain) for seed in (0, 1))
    assert not np.array_equal(one.read(0), other.read(0))
    assert one.identity != other.identity


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_image_comes_twice(domain: str) -> None:
    source = SyntheticSource(
        SyntheticConfig(train=40, validation=20, test=20, cam16_train=20, cam16_validation=20, prcc=20), domain
    )
    assert len({item.path for item in source.items}) == len(source.items)
    assert len({source.read(i).tobytes() for i in range(len(source.items))}) == len(source.items)


def test_a_larger_split_keeps_the_images_of_a_smaller_one() -> None:
    small = SyntheticSource(SyntheticConfig(train=100), "wbc")
    large = SyntheticSource(SyntheticConfig(train=300), "wbc")
    places = {item.path: i for i, item in enumerate(large.items)}
    for i, item in list(enumerate(small.items))[:100:9]:
        np.testing.assert_array_equal(small.read(i), large.read(places[item.path]))


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("size", [16, 48, 75])
def test_images_have_the_configured_size(domain: str, size: int) -> None:
    image = SyntheticSource(SyntheticConfig(size=size), domain).read(0)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


@pytest.mark.parametrize("domain", DOMAINS)
def test_classes_are_those_of_the_domain(domain: str) -> None:
    assert SyntheticSource(SyntheticConfig(), domain).classes == CLASSES[domain]


def test_class_shares_are_those_of_the_coursework() -> None:
    items = SyntheticSource(SyntheticConfig(), "wbc").items
    counts = {split: Counter(item.label for item in items if item.split == split) for split in ("train", "val", "test")}
    assert [counts["train"][label] for label in range(5)] == [25, 88, 287, 66, 734]
    assert [counts["val"][label] for label in range(5)] == [6, 22, 72, 16, 184]
    assert counts["test"] == counts["val"]


@given(train=st.integers(15, 3000), validation=st.integers(15, 500), test=st.integers(15, 500))
@settings(deadline=None, max_examples=40)
def test_every_split_is_full_and_has_three_of_every_class(train: int, validation: int, test: int) -> None:
    items = SyntheticSource(SyntheticConfig(train=train, validation=validation, test=test), "wbc").items
    for split, wanted in (("train", train), ("val", validation), ("test", test)):
        counts = Counter(item.label for item in items if item.split == split)
        assert counts.total() == wanted
        assert min(counts[label] for label in range(5)) >= 3


def test_lymph_node_patches_are_balanced_and_kidney_is_unlabelled() -> None:
    patches = SyntheticSource(SyntheticConfig(), "cam16").items
    assert Counter((item.split, item.label) for item in patches) == {
        ("train", 0): 150, ("train", 1): 150, ("val", 0): 40, ("val", 1): 40,
    }  # fmt: skip
    kidney = SyntheticSource(SyntheticConfig(), "prcc").items
    assert Counter((item.split, item.label) for item in kidney) == {("train", -1): 200, ("val", -1): 40}


def test_paths_name_split_class_and_number() -> None:
    source = SyntheticSource(SyntheticConfig(), "wbc")
    for item in source.items:
        split, name, number = item.path.split("/")
        assert (split, name) == (item.split, source.classes[item.label])
        assert len(number) == 6


def test_a_tenth_of_the_labelled_images_has_a_mask() -> None:
    for domain in ("wbc", "cam16"):
        source = SyntheticSource(SyntheticConfig(), domain)
        masked = sum(source.has_mask(i) for i in range(len(source.items)))
        assert 0.08 < masked / len(source.items) < 0.12
    kidney = SyntheticSource(SyntheticConfig(), "prcc")
    assert not any(kidney.has_mask(i) for i in range(len(kidney.items)))
    assert kidney.read_mask(3) is None


@pytest.mark.parametrize("name", CLASSES["wbc"])
def test_smear_masks_hold_a_nucleus_inside_its_cell(smears: SyntheticSource, name: str) -> None:
    for i in _of_class(smears, name, 8, masked=True):
        mask = smears.read_mask(i)
        assert mask is not None
        assert mask.shape == (48, 48)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) == {0, 128, 255}
        # Dilated by one pixel the nucleus meets no background: cytoplasm surrounds it.
        nucleus = np.pad(mask == 255, 1)
        grown = nucleus[1:-1, :-2] | nucleus[1:-1, 2:] | nucleus[:-2, 1:-1] | nucleus[2:, 1:-1]
        assert (mask[grown] == 0).mean() < 0.15


def test_masks_lie_on_what_they_name(smears: SyntheticSource) -> None:
    for i in _of_class(smears, "Neutrophil", 12, masked=True):
        mask = smears.read_mask(i)
        assert mask is not None
        grey = smears.read(i).mean(axis=2)
        assert grey[mask == 255].mean() < grey[mask == 128].mean() < np.quantile(grey[mask == 0], 0.9)


def test_only_tumor_patches_have_tumor_in_their_mask() -> None:
    source = SyntheticSource(SyntheticConfig(), "cam16")
    marked = {0: 0, 1: 0}
    for i, item in enumerate(source.items):
        mask = source.read_mask(i)
        if mask is not None:
            assert set(np.unique(mask)) <= {0, 255}
            marked[item.label] += int((mask == 255).any())
    assert marked == {0: 0, 1: sum(source.has_mask(i) for i, item in enumerate(source.items) if item.label == 1)}


def test_eosinophil_granules_are_more_orange_than_neutrophil_granules(smears: SyntheticSource) -> None:
    def orange(name: str) -> float:
        pixels = np.concatenate([_cell_pixels(smears, i, 128) for i in _of_class(smears, name, 20, masked=True)])
        return float((pixels[:, 0] - pixels[:, 2]).mean())

    assert orange("Eosinophil") > orange("Neutrophil") + 20


def test_lymphocytes_have_the_largest_share_of_nucleus_and_monocytes_the_largest_cell(smears: SyntheticSource) -> None:
    nuclear_share, area = {}, {}
    for name in CLASSES["wbc"]:
        masks = [smears.read_mask(i) for i in _of_class(smears, name, 15, masked=True)]
        nuclear_share[name] = np.mean([(m == 255).sum() / (m > 0).sum() for m in masks if m is not None])
        area[name] = np.mean([(m > 0).sum() for m in masks if m is not None])
    assert max(nuclear_share, key=lambda name: nuclear_share[name]) == "Lymphocyte"
    assert max(area, key=lambda name: area[name]) == "Monocyte"


def test_basophil_granules_make_the_cytoplasm_darkest(smears: SyntheticSource) -> None:
    darkness = {
        name: np.mean([_cell_pixels(smears, i, 128).mean() for i in _of_class(smears, name, 10, masked=True)])
        for name in CLASSES["wbc"]
    }
    assert min(darkness, key=lambda name: darkness[name]) == "Basophil"


def test_neutrophil_nuclei_are_less_compact_than_lymphocyte_nuclei(smears: SyntheticSource) -> None:
    def compactness(name: str) -> float:
        values = []
        for i in _of_class(smears, name, 15, masked=True):
            mask = smears.read_mask(i)
            assert mask is not None
            rows, columns = np.nonzero(mask == 255)
            spread = rows.var() + columns.var()
            values.append(len(rows) / (2 * np.pi * spread))  # 1 for a disc, less for a segmented shape
        return float(np.mean(values))

    assert compactness("Lymphocyte") > 0.9
    assert compactness("Neutrophil") < 0.8


def test_a_split_smaller_than_the_classes_names_the_field() -> None:
    with pytest.raises(DataError, match=r"data\.synthetic\.test is 3.*at least 15"):
        SyntheticSource(SyntheticConfig(test=3), "wbc")


def test_an_unknown_domain_names_those_that_exist() -> None:
    with pytest.raises(DataError, match=r"'lung'.*wbc, cam16, prcc"):
        SyntheticSource(SyntheticConfig(), "lung")
