"""What commands for a whole study say, refuse and leave alone."""

import pytest
from PIL import Image

from study.config.files import load_config
from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage.run_directory import RunDirectory
from tests.study.commands.calls import invoke, run
from tests.study.tiny import write_tiny


def test_empty_class_is_refused_before_anything_starts(tmp_path, wbc, wbc_config):
    for path in (wbc / "wbc" / "train" / "data" / "Monocyte").iterdir():
        path.unlink()
    output = run("run", wbc_config, "--root", tmp_path / "runs", code=2)
    assert "Monocyte" in output
    assert not (tmp_path / "runs" / "tiny" / "study.yaml").exists()


def test_truncated_image_is_fatal_by_default_and_skipped_on_request(tmp_path, wbc, wbc_config):
    broken = wbc / "wbc" / "train" / "data" / "Neutrophil" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    output = run("run", wbc_config, "--root", tmp_path / "runs", code=2)
    assert str(broken) in output
    assert not (tmp_path / "runs" / "tiny" / "study.yaml").exists()
    assert "0.png" in invoke("data", "audit", wbc_config)
    estimate = invoke("run", wbc_config, "--set", "data.unreadable=skip", "--root", tmp_path / "runs", "--dry-run")
    # Six images of five classes, the broken one gone, a fifth set aside for testing.
    assert "WBC_100/off" in estimate


def test_mask_without_image_is_refused(tmp_path, wbc, wbc_config):
    mask = wbc / "wbc" / "train" / "mask" / "Basophil" / "stranger.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (20, 20)).save(mask)
    assert "stranger.png" in run("run", wbc_config, "--root", tmp_path / "runs", code=2)


def test_dry_run_says_arms_trials_time_and_memory_and_writes_no_run(tmp_path):
    output = invoke("run", write_tiny(tmp_path), "--root", tmp_path / "runs", "--dry-run")
    assert "4 arms x (2 search trials by grid, none + 2 confirmations) = 16 trials" in output
    # 16 trials of 3 epochs of 2 steps of 8 images, 8 tiles and 16 patches once.
    assert "792 image-steps" in output
    assert "Time: about" in output and "Memory: about" in output
    assert not (tmp_path / "runs").exists()


def test_dry_run_of_a_restart_says_what_would_be_set_aside_and_leaves_it(tmp_path):
    root = tmp_path / "runs"
    RunDirectory(root / "tiny").write_config(load_config(str(write_tiny(tmp_path, training={"epochs": 2}))))
    output = invoke("run", write_tiny(tmp_path), "--root", root, "--dry-run", "--restart")
    assert "--restart would first set aside the study that is there, interrupted before its first phase" in output
    assert [path.name for path in root.iterdir()] == ["tiny"]
    with pytest.raises(UsageError, match=r"training\.epochs: 2 -> 3"):
        invoke("run", write_tiny(tmp_path), "--root", root, "--dry-run")


def test_a_restart_with_unusable_images_leaves_the_old_study_where_it_is(tmp_path, wbc, wbc_config):
    RunDirectory(tmp_path / "runs" / "tiny").write_config(load_config(str(wbc_config)))
    broken = wbc / "wbc" / "train" / "data" / "Neutrophil" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    output = run("run", wbc_config, "--root", tmp_path / "runs", "--restart", code=2)
    assert str(broken) in output
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny"]


def test_list_and_clean_on_an_empty_root(tmp_path):
    assert "No studies" in invoke("list", "--root", tmp_path)


def test_a_damaged_study_does_not_hide_the_others(tmp_path):
    for name in ("broken", "sound"):
        RunDirectory(tmp_path / name).write_config(StudyConfig(name=name))
    (tmp_path / "broken" / "manifest.json").write_text("{")
    lines = " ".join(invoke("list", "--root", tmp_path).split())
    assert "broken damaged: manifest.json is not readable" in lines
    assert "sound interrupted before its first phase" in lines
