"""Generated images must be reproducible and shared out as in the coursework."""

import ast
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import data_utils
from data_utils.config import SyntheticConfig
from data_utils.errors import DataError
from data_utils.sources.source import CLASSES
from data_utils.sources.synthetic import DRAWING_VERSION, SyntheticSource

DOMAINS = ["wbc", "cam16", "prcc"]


def _drawing_code() -> str:
    """Everything that decides a pixel, without imports and docstrings."""
    folder = Path(data_utils.__file__).parent
    trees = [ast.parse((folder / "drawing" / f"{name}.py").read_text()) for name in ("canvas", "smears", "tissue")]
    source = ast.parse((folder / "sources" / "synthetic.py").read_text())
    trees += [node for node in ast.walk(source) if isinstance(node, ast.FunctionDef) and node.name == "_draw"]
    for node in [node for tree in trees for node in ast.walk(tree)]:
        if isinstance(getattr(node, "body", None), list):
            node.body = [
                inner
                for inner in node.body
                if not isinstance(inner, ast.Import | ast.ImportFrom)
                and not (isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant))
            ]
    return "\n".join(map(ast.unparse, trees))


def test_whoever_changes_what_is_drawn_is_reminded_of_its_version() -> None:
    # Caches and ids of studies hold the version: pictures that are drawn alike keep it, others need another value.
    code = hashlib.sha256(_drawing_code().encode()).hexdigest()[:16]
    assert (DRAWING_VERSION, code) == ("770ce6da809ff7fd", "fdea6dac72741f85")


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
        SyntheticConfig(
            train=40, validation=20, test=20, cam16_train=20, cam16_validation=10, prcc=20, prcc_validation=5
        ),
        domain,
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


def test_a_split_smaller_than_the_classes_names_the_field() -> None:
    with pytest.raises(DataError, match=r"data\.synthetic\.test is 3.*at least 15"):
        SyntheticSource(SyntheticConfig(test=3), "wbc")


def test_an_unknown_domain_names_those_that_exist() -> None:
    with pytest.raises(DataError, match=r"'lung'.*wbc, cam16, prcc"):
        SyntheticSource(SyntheticConfig(), "lung")
