"""What doctor finds, and what it makes of it."""

from __future__ import annotations

import io
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from study.commands import doctor
from study.commands.doctor import BAD, GOOD, NOTE, estimate_presets, examine, print_examination
from study.commands.main import app
from study.config.files import load_config
from study.errors import RayLost
from study.execution import ray_session
from study.pipeline import estimate
from study.pipeline.estimate import count_images, estimate_arms, pretraining_image_steps


@contextmanager
def broken_ray(address: str | None):
    raise RayLost("Ray did not start on this machine (no port)")
    yield


def test_what_would_stop_a_study_is_named_and_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray_session, "ray_session", broken_ray)
    memory = namedtuple("memory", "available total")(2**30, 4 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    found = {finding.what: finding for finding in examine(tmp_path / "new" / "runs", tmp_path)}
    assert found["memory"].state == BAD and "1.0 GiB free of 4.0; a study needs 2 GiB" in found["memory"].found
    assert found["Ray"].state == BAD and "no port" in found["Ray"].found
    # A folder that is not there yet lies on the disk of the next one above.
    assert (
        found["disk, studies"].state in (GOOD, NOTE) and str(tmp_path / "new" / "runs") in found["disk, studies"].found
    )
    assert "cores" in found["CPU"].found and "torch" in found["GPU"].found
    result = CliRunner().invoke(app, ["doctor", "--quick", "--root", str(tmp_path)], catch_exceptions=False)
    said = " ".join(result.output.split())
    assert result.exit_code == 1 and "(no port)" in said and "images/s" not in said


def test_a_machine_without_a_browser_is_told_what_needs_one() -> None:
    assert doctor._browser(lambda name: None).state == NOTE
    assert (
        doctor._browser(lambda name: f"/bin/{name}" if name == "google-chrome" else None).found == "/bin/google-chrome"
    )


def test_the_time_of_quick_is_what_a_dry_run_reckons_from_the_images_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "seconds_per_image_step", lambda *_, **__: 0.01)
    sizes = {
        "train": 60,
        "validation": 12,
        "cam16_train": 20,
        "cam16_validation": 4,
        "prcc": 8,
        "prcc_validation": 2,
        "size": 16,
    }
    config = load_config(
        "quick", [f"data.cache_dir={tmp_path}", *(f"data.synthetic.{k}={v}" for k, v in sizes.items())]
    )
    monkeypatch.setattr(doctor, "load_config", lambda *_: config)
    (time,) = estimate_presets(("quick",))
    # The images of the encoders are only counted.
    arrays = {"wbc": doctor_arrays(config, "wbc")} | {name: doctor_arrays(config, name) for name in ("prcc", "cam16")}
    seconds = estimate.estimate_seconds(
        config,
        count_images(config, arrays["wbc"]),
        seconds_per_image_step=0.01,
        pretraining_image_steps=pretraining_image_steps(config, arrays),
        slots=time.slots,
    )
    # Fractions are drawn by class, and here taken of the whole: a few images more or less.
    assert time.seconds == pytest.approx(seconds, rel=0.02)


def doctor_arrays(config, domain):
    from data_utils.cache import prepare

    return prepare(config.data, domain)


def test_presets_without_images_are_reckoned_on_the_published_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_measure", lambda config: 0.01)
    local, published = estimate_presets(("local", "published"))
    assert "8,447 cells" in published.on and published.images_per_second == pytest.approx(100)
    config = load_config("published", ["data.root=."])
    arms = estimate_arms(config, doctor._published_counts(config))
    # 25 epochs of all 8,447 images for 9 points and the confirmations.
    assert arms[-1].image_steps == 25 * 8447 * (9 + config.confirm.seeds)
    assert published.seconds > local.seconds
    text = io.StringIO()
    print_examination([], [local, published], Console(file=text, width=100))
    assert "images/s of a trial" in text.getvalue() and "--dry-run" in text.getvalue()
