"""What the command says and how it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from study.commands import main as command_line
from study.commands.main import app
from study.config.files import load_config
from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage.run_directory import RunDirectory
from tests.study.tiny import write_tiny

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run the command in a process of its own; returns both outputs."""
    done = subprocess.run(
        [sys.executable, "-m", "study", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def invoke(*arguments: str | Path) -> str:
    """Run the command in this process; its errors are raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def wbc(tmp_path):
    """A small folder source: 6 images of each class to train on, 2 to validate on."""
    for split, count in (("train", 6), ("val", 2)):
        for label, name in enumerate(CLASSES):
            for i in range(count):
                path = tmp_path / "data" / "wbc" / split / "data" / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 20), (40 * label, 10 * i, 90 if split == "val" else 0)).save(path)
    return tmp_path / "data"


def folder_config(tmp_path: Path, root: Path) -> Path:
    return write_tiny(
        tmp_path,
        data={"source": "folder", "root": str(root), "cache_dir": str(tmp_path / "cache")},
        arms={"fusion": ["off"]},
    )


def test_help_does_not_import_what_is_slow():
    code = (
        "import sys; from study.commands.main import app; from typer.testing import CliRunner;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        "print([name for name in ('torch', 'ray', 'pandas', 'plotly', 'sklearn', 'optuna', 'scipy') if name in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "quikc"], ["quikc", "quick"]),
        (["run", "quick", "--set", "search.trial_per_arm=3"], ["search.trial_per_arm", "trials_per_arm"]),
        (["run", "quick", "--set", "arms.fractions=[0.1,1.5]"], ["arms.fractions.1", "1.5"]),
        (["run", "quick", "--set", "arms.fractions=[0]"], ["arms.fractions.0", "found 0"]),
        (
            ["run", "quick", "--set", "search.mode=grid", "--set", "search.trials_per_arm=3"],
            ["trials_per_arm", "3", "4"],
        ),
        (["run", "local", "--set", "data.root=/nowhere"], ["data.root", "/nowhere"]),
        (["run", "local"], ["data.root"]),
        (["run", "quick", "--set", "model.width"], ["model.width", "key=value"]),
        (["run", "quick", "--name", "../elsewhere"], ["../elsewhere"]),
        (["status", "nothing"], ["nothing"]),
        (["report", "nothing"], ["nothing"]),
        (["run", "quick", "--bogus"], ["--bogus"]),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_culprit(tmp_path, arguments, said):
    output = run(*arguments, "--root", tmp_path, code=2)
    for text in said:
        assert text in output
    assert list(tmp_path.iterdir()) == []


def test_empty_class_is_refused_before_anything_starts(tmp_path, wbc):
    for path in (wbc / "wbc" / "train" / "data" / "Monocyte").iterdir():
        path.unlink()
    output = run("run", folder_config(tmp_path, wbc), "--root", tmp_path / "runs", code=2)
    assert "Monocyte" in output
    assert not (tmp_path / "runs" / "tiny" / "study.yaml").exists()


def test_truncated_image_is_fatal_by_default_and_skipped_on_request(tmp_path, wbc):
    broken = wbc / "wbc" / "train" / "data" / "Neutrophil" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    config = folder_config(tmp_path, wbc)
    output = run("run", config, "--root", tmp_path / "runs", code=2)
    assert str(broken) in output
    assert not (tmp_path / "runs" / "tiny" / "study.yaml").exists()
    assert "0.png" in invoke("data", "audit", config)
    estimate = invoke("run", config, "--set", "data.unreadable=skip", "--root", tmp_path / "runs", "--dry-run")
    # Six images of five classes, the broken one gone, a fifth set aside for testing.
    assert "WBC_100/off" in estimate


def test_modules_of_the_working_directory_are_not_taken_for_ours(tmp_path, wbc):
    """The console script does not look there; neither may the process that it starts for the study."""
    for name in ("study", "models", "analysis"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not ours')\n")
    mask = wbc / "wbc" / "train" / "mask" / "Basophil" / "stranger.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (20, 20)).save(mask)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "study", "run", folder_config(tmp_path, wbc), "--root", tmp_path / "runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "stranger.png" in done.stderr


def test_mask_without_image_is_refused(tmp_path, wbc):
    mask = wbc / "wbc" / "train" / "mask" / "Basophil" / "stranger.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (20, 20)).save(mask)
    assert "stranger.png" in run("run", folder_config(tmp_path, wbc), "--root", tmp_path / "runs", code=2)


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


def test_a_restart_with_unusable_images_leaves_the_old_study_where_it_is(tmp_path, wbc):
    config = folder_config(tmp_path, wbc)
    RunDirectory(tmp_path / "runs" / "tiny").write_config(load_config(str(config)))
    broken = wbc / "wbc" / "train" / "data" / "Neutrophil" / "0.png"
    broken.write_bytes(broken.read_bytes()[:40])
    output = run("run", config, "--root", tmp_path / "runs", "--restart", code=2)
    assert str(broken) in output
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["tiny"]


def test_config_show_is_complete_and_can_be_run_again(tmp_path):
    shown = invoke("config", "show", "quick", "--set", "training.epochs=2")
    values = yaml.safe_load(shown)
    assert values["training"]["epochs"] == 2
    (tmp_path / "again.yaml").write_text(shown)
    assert invoke("config", "show", tmp_path / "again.yaml") == shown


def test_config_schema_documents_every_setting():
    schema = json.loads(invoke("config", "schema"))
    for name, model in [("StudyConfig", schema), *schema["$defs"].items()]:
        for key, setting in model["properties"].items():
            assert setting.get("description"), f"{name}.{key} has no description"


def test_list_and_clean_on_an_empty_root(tmp_path):
    assert "No studies" in invoke("list", "--root", tmp_path)


def test_a_damaged_study_does_not_hide_the_others(tmp_path):
    for name in ("broken", "sound"):
        RunDirectory(tmp_path / name).write_config(StudyConfig(name=name))
    (tmp_path / "broken" / "manifest.json").write_text("{")
    lines = " ".join(invoke("list", "--root", tmp_path).split())
    assert "broken damaged: manifest.json is not readable" in lines
    assert "sound interrupted before its first phase" in lines


def test_data_preview_writes_a_picture_of_each_image_set(tmp_path):
    invoke("data", "preview", write_tiny(tmp_path), "--out", tmp_path / "preview")
    assert {path.name for path in (tmp_path / "preview").iterdir()} == {"wbc.png", "prcc.png", "cam16.png"}


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
@pytest.mark.parametrize("supervised", [False, True])
def test_unexpected_errors_are_shown_whole_and_not_tried_again(monkeypatch, capsys, error, supervised):
    def broken() -> None:
        raise error("a defect")

    monkeypatch.setattr(command_line, "app", broken)
    if supervised:
        monkeypatch.setenv("WBC_STUDY_SUPERVISED", "0")
    with pytest.raises(SystemExit) as ending:
        command_line.main()
    # The supervisor takes up again what ends with 1: nobody meant it to.
    assert ending.value.code == (70 if supervised else 1)
    told = capsys.readouterr().err
    assert "Traceback" in told and f"{error.__name__}: a defect" in told
