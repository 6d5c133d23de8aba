"""How often each image is shown, in how many gradient steps."""

import numpy as np

from study.config.study import StudyConfig
from study.design.arms import Arm
from tests.study.training.trials import OFF, SUM


def test_steps_mode_gives_every_fraction_the_same_number_of_full_batches(start):
    for fraction in (0.1, 1.0):
        run = start(Arm(fraction, "off"))
        report = run.train_epoch()
        assert report.steps == 2
        assert [len(batch) for batch in run.order.batches(1)] == [8, 8]
        assert run.train_epoch().steps == 4


def test_steps_mode_shows_every_image_equally_often(start):
    run = start(Arm(0.1, "off"), training={"steps_per_epoch": 3, "batch_size": 2})
    count = len(run.order.rows)
    shown = np.concatenate([batch for epoch in range(1, count + 1) for batch in run.order.batches(epoch)])
    # 3 steps of 2 images in `count` epochs are 6 passes.
    assert np.unique(shown, return_counts=True)[1].tolist() == [6] * count


def test_pass_mode_shows_every_image_once_with_a_smaller_last_batch(start):
    run = start(training={"steps_per_epoch": None})
    batches = run.order.batches(1)
    assert [len(batch) for batch in batches] == [8] * 7 + [4]
    assert sorted(np.concatenate(batches)) == sorted(run.order.rows)
    assert [b.tolist() for b in batches] != [b.tolist() for b in run.order.batches(2)]


def test_published_recipe_counts_the_published_gradient_steps():
    training = StudyConfig().training
    assert (training.epochs, training.batch_size) == (25, 8)
    assert training.steps_in_epoch(82) * 25 == 275
    assert training.steps_in_epoch(8447) * 25 == 26_400


def test_balanced_sampling_shows_every_class_equally_often_in_as_many_steps_to_all_compared_arms(start):
    changes = {"training": {"steps_per_epoch": None, "sampling": "balanced"}}
    off, fused = start(OFF, **changes), start(SUM, **changes)
    batches = off.order.batches(1)
    labels = off.batches.arrays.labels[np.concatenate(batches)]
    assert np.bincount(labels).tolist() == [12] * 5
    assert len(batches) == len(start(training={"steps_per_epoch": None}).order.batches(1))
    assert [b.tolist() for b in batches] == [b.tolist() for b in fused.order.batches(1)]
