import numpy as np

from data_utils.config import SyntheticConfig
from data_utils.sources.synthetic import SyntheticSource


def test_only_tumor_patches_have_tumor_in_their_mask() -> None:
    source = SyntheticSource(SyntheticConfig(), "cam16")
    marked = {0: 0, 1: 0}
    for i, item in enumerate(source.items):
        mask = source.read_mask(i)
        if mask is not None:
            assert set(np.unique(mask)) <= {0, 255}
            marked[item.label] += int((mask == 255).any())
    assert marked == {0: 0, 1: sum(source.has_mask(i) for i, item in enumerate(source.items) if item.label == 1)}


def test_kidney_has_white_lumen_and_stained_tissue() -> None:
    source = SyntheticSource(SyntheticConfig(), "prcc")
    grey = np.stack([source.read(i).mean(axis=2) for i in range(20)])
    assert (grey > 220).mean() > 0.05
    assert (grey < 170).mean() > 0.1
