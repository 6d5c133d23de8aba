"""Smears must be true to the morphology of their class."""

import numpy as np
import pytest
from numpy.typing import NDArray

from data_utils.config import SyntheticConfig
from data_utils.sources.source import CLASSES
from data_utils.sources.synthetic import SyntheticSource


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
