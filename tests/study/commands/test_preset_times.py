"""How long studies of the presets would take, and on which images that is reckoned."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_utils.cache import prepare
from study.commands import preset_times
from study.commands.preset_times import estimate_presets
from study.config.files import load_config
from study.pipeline import estimate
from study.pipeline.estimate import count_images, estimate_arms, pretraining_image_steps


def test_the_time_of_quick_is_what_a_dry_run_reckons_from_the_images_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preset_times, "seconds_per_image_step", lambda *_, **__: 0.01)
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
    monkeypatch.setattr(preset_times, "load_config", lambda *_: config)
    (time,) = estimate_presets(("quick",))
    # The images of the encoders are only counted.
    arrays = {domain: prepare(config.data, domain) for domain in ("wbc", "prcc", "cam16")}
    seconds = estimate.estimate_seconds(
        config,
        count_images(config, arrays["wbc"]),
        seconds_per_image_step=0.01,
        pretraining_image_steps=pretraining_image_steps(config, arrays),
        slots=time.slots,
    )
    # Fractions are drawn by class, and here taken of the whole: a few images more or less.
    assert time.seconds == pytest.approx(seconds, rel=0.02)


def test_presets_without_images_are_reckoned_on_the_published_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preset_times, "_measure", lambda config: 0.01)
    local, published = estimate_presets(("local", "published"))
    assert "8,447 cells" in published.on and published.images_per_second == pytest.approx(100)
    config = load_config("published", ["data.root=."])
    arms = estimate_arms(config, preset_times._published_counts(config))
    # 25 epochs of all 8,447 images for 9 points and the confirmations.
    assert arms[-1].image_steps == 25 * 8447 * (9 + config.confirm.seeds)
    assert published.seconds > local.seconds
