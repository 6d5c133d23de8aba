"""What wrong usage and unexpected errors lead to, whatever the command."""

import subprocess
import sys

import pytest
from PIL import Image

from study.commands import main as command_line
from tests.study.commands.calls import run


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


def test_modules_of_the_working_directory_are_not_taken_for_ours(tmp_path, wbc, wbc_config):
    """The console script does not look there; neither may the process that it starts for the study."""
    for name in ("study", "models", "analysis"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not ours')\n")
    mask = wbc / "wbc" / "train" / "mask" / "Basophil" / "stranger.png"
    mask.parent.mkdir(parents=True)
    Image.new("L", (20, 20)).save(mask)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "study", "run", wbc_config, "--root", tmp_path / "runs"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "stranger.png" in done.stderr


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
