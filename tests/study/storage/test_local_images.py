"""Images from where the configuration says, on the disk of the machine that needs them."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from analysis.records.object_store import ObjectStore
from data_utils.cache import prepare
from data_utils.config import DataConfig
from study.storage.local_images import open_images, with_local_data
from tests.study.object_storage import BUCKET


@pytest.fixture
def cells(tmp_path):
    """A folder of blood cells: three of every class in train and one in val."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for name in ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"):
            folder = tmp_path / "data" / "wbc" / split / "data" / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


def test_a_folder_stays_where_it_is(cells, tmp_path):
    config = DataConfig(source="folder", root=cells, test="none", cache_dir=tmp_path / "cache")
    assert with_local_data(config) is config


def test_data_in_an_object_store_are_the_same_images(cells, s3, tmp_path):
    url = f"s3://{BUCKET}/{tmp_path.name}/data"
    ObjectStore(url).publish(cells, "wbc")
    here = DataConfig(source="folder", root=cells, test="none", cache_dir=tmp_path / "one")
    there = DataConfig.model_validate({**here.model_dump(), "root": url, "cache_dir": tmp_path / "two"})
    assert there.root == url, "an address is not taken for a path"
    s3.shares = {"error": 0.1, "cut": 0.1}
    assert open_images(there, "wbc").fingerprint == prepare(here, "wbc").fingerprint


def test_of_the_processes_of_a_node_one_builds_the_cache(cells, s3, tmp_path):
    url = f"s3://{BUCKET}/{tmp_path.name}/data"
    ObjectStore(url).publish(cells, "wbc")
    code = (
        "import sys; from data_utils.config import DataConfig; from study.storage.local_images import open_images;"
        "import data_utils.cache as cache; built = []; build = cache.build;"
        "cache.build = lambda *a: (built.append(1), build(*a));"
        "c = DataConfig(source='folder', root=sys.argv[1], test='none', cache_dir=sys.argv[2]);"
        "open_images(c, 'wbc'); print(len(built))"
    )
    arguments = [sys.executable, "-c", code, url, str(tmp_path / "cache")]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    built = [int(process.communicate()[0]) for process in processes]
    assert sorted(built) == [0, 0, 1]
