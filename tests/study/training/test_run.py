"""A trial is a function of its configuration and seed, however often it is interrupted."""

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix

from data_utils.cache import prepare
from models.autoencoder import Autoencoder
from models.checkpoints import load_state
from models.classifier import ResidualClassifier
from models.encoders import Encoder
from models.initialisation import stream
from models.torchvision_classifiers import TorchvisionClassifier
from study.config.study import StudyConfig
from study.design.arms import HANDCRAFTED, Arm
from study.design.trials import TrialSpec
from study.training import run as run_module
from study.training.batches import ImageBatches
from study.training.run import TrainingRun, load_or_start
from study.training.trial_features import StudyFeatures
from tests.study.tiny import TINY, merged

CPU = torch.device("cpu")
OFF = Arm(1.0, "off")
BOTH = ("prcc", "cam16")
SUM = Arm(1.0, "sum", BOTH)
MASKS = Arm(1.0, "sum", BOTH, segmentation=True)
FINETUNE = Arm(1.0, "finetune", ("cam16",))
TWIN = Arm(1.0, "off", control="twin")
CLASSICAL = Arm(1.0, "off", control="classical")
PUBLISHED = Arm(1.0, "sum", BOTH, "published")
NETWORK = Arm(1.0, "off", classifier="mobilenet_v3_small")  # with dropout
GIVEN = replace(NETWORK, encoders=(NETWORK.classifier,))
EVERY_KIND = [
    OFF,
    SUM,
    Arm(1.0, "concat", BOTH),
    Arm(1.0, "gated", ("prcc",), names_encoders=True),
    FINETUNE,
    TWIN,
    PUBLISHED,
    Arm(1.0, "sum", BOTH, "random"),
    Arm(1.0, "sum", BOTH, "shuffled"),
    Arm(1.0, "finetune", ("cam16",), "random"),
    CLASSICAL,
    NETWORK,
    GIVEN,
    Arm(1.0, "off", classifier="efficientnet_b0"),  # with stochastic depth, and layers of four channels
]
LIVE = {"arms": {"features": "live"}}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def start(cache):
    """Make a run: start(arm, seed=..., changes to the configuration)."""
    torch.set_num_threads(1)

    def make(
        arm: Arm = OFF, seed: int = 0, phase: str = "search", learning_rate: float = 1e-3, settings="{}", **changes
    ) -> TrainingRun:
        if arm.segmentation:
            weight = {"segmentation_weight": 0.5} if "search" not in changes else {}
            changes = merged({"arms": {"segmentation": [False, True]}, "training": weight}, changes)
        config = StudyConfig.model_validate(merged(merged(TINY, {"data": {"cache_dir": cache}}), changes))
        arrays = prepare(config.data, "wbc")
        rng = np.random.default_rng(5)
        networks = [f"{name}{kind}" for kind in ("", "-random") for name in BOTH]
        latents = {name: rng.normal(size=(len(arrays), 64)).astype(np.float32) for name in (*networks, HANDCRAFTED)}
        tissue = {name: ResidualClassifier(2, 8, stream(1, name)) for name in ("cam16", "cam16-random")}
        encoders = {name: Encoder.from_classifier(network, name) for name, network in tissue.items()}
        encoders |= {
            name: Encoder.from_autoencoder(Autoencoder(8, stream(1, name))) for name in ("prcc", "prcc-random")
        }
        live = config.arms.features == "live"
        batches = ImageBatches(arrays, config.data, CPU)
        if live:
            whole = torch.cat([images for _, images in batches.whole(np.arange(len(arrays)))])
            latents |= {name: encoder(whole).numpy() for name, encoder in encoders.items()}
        spec = TrialSpec(phase, arm, 0, seed, learning_rate, 1e-4, settings)
        given = TorchvisionClassifier(NETWORK.classifier, 5, stream(9, "given")).network.state_dict()
        given = {name: tensor for name, tensor in given.items() if not name.startswith("classifier.3.")}
        features = StudyFeatures(latents, encoders if live else {}, tissue, {NETWORK.classifier: given})
        return TrainingRun(config, spec, batches, features, CPU)

    return make


def weights(run: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run._model.state_dict().items()}


@pytest.mark.parametrize(
    ("arm", "changes"),
    [
        *((arm, {}) for arm in EVERY_KIND),
        (OFF, {"training": {"steps_per_epoch": None, "plateau_patience": 0}}),
        (SUM, {"training": {"steps_per_epoch": None, "plateau_patience": 0}}),
        (SUM, {"training": {"schedule": "cosine"}}),
        (MASKS, {"training": {"precision": "bfloat16"}}),
        # Interrupted while the trunk is frozen, and after.
        (FINETUNE, {"training": {"frozen_epochs": 2}}),
        (SUM, LIVE),
        (Arm(1.0, "gated", BOTH, "shuffled"), LIVE),
        (MASKS, {}),
        (Arm(1.0, "finetune", ("cam16",), segmentation=True), {"training": {"frozen_epochs": 2}}),
        (SUM, {"training": {"loss_weights": "effective", "sampling": "balanced", "steps_per_epoch": 5}}),
    ],
)
def test_interrupted_training_equals_uninterrupted_bit_for_bit(start, tmp_path: Path, arm, changes):
    calm = start(arm, phase="confirm", **changes)
    expected = [calm.train_epoch().row() for _ in range(3)]
    first = start(arm, phase="confirm", **changes)
    first.train_epoch()
    first.save(tmp_path / "checkpoint")
    second = start(arm, phase="confirm", **changes)
    assert load_or_start(second, tmp_path / "checkpoint", recorded_epochs=1, warn=pytest.fail) == []
    second.train_epoch()
    second.save(tmp_path / "checkpoint")
    third = start(arm, phase="confirm", **changes)
    load_or_start(third, tmp_path / "checkpoint", recorded_epochs=2, warn=pytest.fail)
    third.train_epoch()
    assert [report.row() for report in third.reports] == expected
    assert all(torch.equal(tensor, weights(calm)[name]) for name, tensor in weights(third).items())
    assert np.array_equal(third.predictions().probabilities, calm.predictions().probabilities)


def test_saved_but_unrecorded_epochs_are_reported_again(start, tmp_path: Path):
    run = start()
    reports = [run.train_epoch(), run.train_epoch()]
    run.save(tmp_path / "checkpoint")
    again = load_or_start(start(), tmp_path / "checkpoint", recorded_epochs=1, warn=pytest.fail)
    assert [report.row() for report in again] == [reports[1].row()]


def test_corrupt_checkpoint_starts_the_trial_again_and_says_so(start, tmp_path: Path):
    (tmp_path / "checkpoint").write_bytes(b"not a checkpoint")
    told: list[str] = []
    run = start()
    assert load_or_start(run, tmp_path / "checkpoint", recorded_epochs=0, warn=told.append) == []
    assert run.epoch == 0
    assert run.spec.trial_id in told[0] and "checkpoint" in told[0]


def test_another_trials_checkpoint_is_not_taken_up(start, tmp_path: Path):
    other = start(seed=8)
    other.train_epoch()
    other.save(tmp_path / "checkpoint")
    told: list[str] = []
    run = start()
    assert load_or_start(run, tmp_path / "checkpoint", recorded_epochs=0, warn=told.append) == []
    assert run.epoch == 0 and other.spec.trial_id in told[0]
    assert run.train_epoch().row() == start().train_epoch().row()


def test_seed_decides_everything_and_another_seed_differs(start):
    one, same, other = start(seed=3), start(seed=3), start(seed=4)
    assert one.train_epoch().row() == same.train_epoch().row()
    assert other.train_epoch().row() != one.reports[0].row()


def test_global_random_state_does_not_matter(start):
    torch.manual_seed(1)
    first = start().train_epoch().row()
    torch.manual_seed(2)
    assert start().train_epoch().row() == first


@pytest.mark.parametrize(
    "arm", [arm for arm in EVERY_KIND if arm.control != "twin" and arm.fusion not in ("off", "finetune")]
)
def test_compared_arms_share_subset_order_crops_and_initial_weights(start, arm):
    off, fused = start(OFF), start(arm)
    assert np.array_equal(off._train, fused._train)
    assert [b.tolist() for b in off._ordered_batches(2)] == [b.tolist() for b in fused._ordered_batches(2)]
    assert all(torch.equal(tensor, weights(fused)[name]) for name, tensor in weights(off).items())
    rows = off._ordered_batches(1)[0]
    crops = [run._batches.crops(rows, stream(0, "crops", 1)) for run in (off, fused)]
    assert torch.equal(*crops)


def test_an_arm_that_finetunes_shares_all_but_the_trunk_it_starts_from(start):
    off, tuned = start(OFF), start(FINETUNE)
    assert np.array_equal(off._train, tuned._train)
    assert [b.tolist() for b in off._ordered_batches(2)] == [b.tolist() for b in tuned._ordered_batches(2)]
    trunk = ResidualClassifier(2, 8, stream(1, "cam16")).state_dict()
    for name, tensor in weights(tuned).items():
        expected = weights(off)[name] if ".fc." in name else trunk[name.removeprefix("classifier.")]
        assert torch.equal(tensor, expected), name


def test_a_frozen_trunk_is_trained_after_its_epochs(start):
    run = start(FINETUNE, training={"frozen_epochs": 2})
    before = weights(run)
    for trained in ({"classifier.fc.weight", "classifier.fc.bias"},) * 2 + (set(before),):
        run.train_epoch()
        assert {name for name, tensor in weights(run).items() if not torch.equal(tensor, before[name])} == trained


def test_the_twin_shares_the_labelled_images_with_off_and_nothing_else(start):
    off, twin = start(OFF, seed=3), start(TWIN, seed=3)
    assert np.array_equal(off._train, twin._train)
    assert [b.tolist() for b in off._ordered_batches(1)] != [b.tolist() for b in twin._ordered_batches(1)]
    assert not torch.equal(weights(off)["classifier.conv1.weight"], weights(twin)["classifier.conv1.weight"])
    assert twin.train_epoch().row() != off.train_epoch().row()
    assert set(weights(twin)) == set(weights(off))


def test_the_published_control_trains_on_noise_and_is_the_plain_network_when_it_is_scored(start):
    off, control = start(OFF), start(PUBLISHED, phase="confirm")
    assert set(weights(control)) == set(weights(off))
    assert control.train_epoch().row()["train_loss"] != off.train_epoch().row()["train_loss"]
    plain = start(OFF, phase="confirm")
    plain._model.load_state_dict(control._model.state_dict())
    rows = control._batches.arrays.indices("val")
    for (_, found), (_, expected) in zip(control._score(rows), plain._score(rows), strict=True):
        assert torch.equal(found, expected)


def test_random_encoders_give_other_latents_through_the_same_fusion(start):
    pretrained, control = start(SUM), start(Arm(1.0, "sum", BOTH, "random"))
    assert {name: tensor.shape for name, tensor in weights(control).items()} == {
        name: tensor.shape for name, tensor in weights(pretrained).items()
    }
    for encoder in BOTH:
        assert not torch.equal(control._latents.stored[encoder], pretrained._latents.stored[encoder])


def test_live_features_equal_cached_ones_when_the_crop_is_the_whole_image(start):
    whole = {"data": {"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0], "flip": 0.0}}
    live = start(SUM, **whole, **LIVE)
    rows = live._ordered_batches(1)[0]
    at = torch.from_numpy(rows)
    crops = live._batches.crops(rows, stream(0, "crops", 1))
    seen, stored = live._latents.of_crops(rows, at, crops, step=0), live._latents.of_images(at)
    assert set(seen) == set(stored) == set(BOTH)
    for encoder in BOTH:
        torch.testing.assert_close(seen[encoder], stored[encoder], rtol=1e-4, atol=1e-4)


def test_live_features_follow_the_crop(start):
    cropped = start(SUM, **LIVE)
    rows = cropped._ordered_batches(1)[0]
    at = torch.from_numpy(rows)
    first, second = (
        cropped._latents.of_crops(rows, at, cropped._batches.crops(rows, stream(0, "crops", epoch)), step=0)["prcc"]
        for epoch in (1, 2)
    )
    assert not torch.allclose(first, second)
    assert not first.requires_grad


def test_fused_arm_learns_from_latents_and_is_scored_with_them(start):
    fused = start(SUM, phase="confirm")
    fused.train_epoch()
    learnt = [tensor for name, tensor in weights(fused).items() if name.startswith("fusion")]
    assert learnt and all(tensor.abs().sum() > 0 for tensor in learnt)
    with_latents = fused.predictions().probabilities
    for latent in fused._latents.stored.values():
        latent.zero_()
    assert not np.allclose(fused.predictions().probabilities, with_latents)


def test_steps_mode_gives_every_fraction_the_same_number_of_full_batches(start):
    for fraction in (0.1, 1.0):
        run = start(Arm(fraction, "off"))
        report = run.train_epoch()
        assert report.steps == 2
        assert [len(batch) for batch in run._ordered_batches(1)] == [8, 8]
        assert run.train_epoch().steps == 4


def test_steps_mode_shows_every_image_equally_often(start):
    run = start(Arm(0.1, "off"), training={"steps_per_epoch": 3, "batch_size": 2})
    count = len(run._train)
    shown = np.concatenate([batch for epoch in range(1, count + 1) for batch in run._ordered_batches(epoch)])
    # 3 steps of 2 images in `count` epochs are 6 passes.
    assert np.unique(shown, return_counts=True)[1].tolist() == [6] * count


def test_pass_mode_shows_every_image_once_with_a_smaller_last_batch(start):
    run = start(training={"steps_per_epoch": None})
    batches = run._ordered_batches(1)
    assert [len(batch) for batch in batches] == [8] * 7 + [4]
    assert sorted(np.concatenate(batches)) == sorted(run._train)
    assert [b.tolist() for b in batches] != [b.tolist() for b in run._ordered_batches(2)]


def test_published_recipe_counts_the_published_gradient_steps():
    training = StudyConfig().training
    assert (training.epochs, training.batch_size) == (25, 8)
    assert training.steps_in_epoch(82) * 25 == 275
    assert training.steps_in_epoch(8447) * 25 == 26_400


def test_class_weights_change_what_is_learnt_and_leave_what_is_recorded_comparable(start):
    plain, weighted = start(), start(training={"loss_weights": "inverse"})
    first, second = plain.train_epoch(), weighted.train_epoch()
    assert any(not torch.equal(tensor, weights(weighted)[name]) for name, tensor in weights(plain).items())
    # Before the first gradient step nothing differs: the recorded losses of a first step must be equal.
    one = start(training={"steps_per_epoch": 1}).train_epoch()
    other = start(training={"steps_per_epoch": 1, "loss_weights": "inverse"}).train_epoch()
    assert one.train_loss == other.train_loss
    assert one.val_loss != other.val_loss
    assert first.steps == second.steps


def test_the_weighted_step_is_that_of_the_weighted_mean_over_the_batch(start):
    run = start(training={"loss_weights": "inverse", "steps_per_epoch": 1})
    model, rows = deepcopy(run._model).train(), run._ordered_batches(1)[0]
    labels = run._batches.arrays.labels
    counts = np.bincount(labels[run._train], minlength=5)
    factors = torch.tensor((len(run._train) / (5 * counts))[labels[rows]], dtype=torch.float32)
    logits = model(run._batches.crops(rows, stream(0, "crops", 1)), {})
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]), reduction="none")
    (losses * factors).mean().backward()
    run.train_epoch()
    expected = dict(model.named_parameters())
    for name, parameter in run._model.named_parameters():
        assert torch.allclose(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-6), name


def test_balanced_sampling_shows_every_class_equally_often_in_as_many_steps_to_all_compared_arms(start):
    changes = {"training": {"steps_per_epoch": None, "sampling": "balanced"}}
    off, fused = start(OFF, **changes), start(SUM, **changes)
    batches = off._ordered_batches(1)
    labels = off._batches.arrays.labels[np.concatenate(batches)]
    assert np.bincount(labels).tolist() == [12] * 5
    assert len(batches) == len(start(training={"steps_per_epoch": None})._ordered_batches(1))
    assert [b.tolist() for b in batches] == [b.tolist() for b in fused._ordered_batches(1)]


def test_masks_are_learnt_from_without_changing_anything_else_that_arms_share(start):
    plain, masked = start(SUM), start(MASKS)
    assert masked._batches.arrays.masked[masked._train].sum() > 0
    assert [b.tolist() for b in plain._ordered_batches(1)] == [b.tolist() for b in masked._ordered_batches(1)]
    assert all(torch.equal(tensor, weights(masked)[name]) for name, tensor in weights(plain).items())
    first, second = (run.train_epoch() for run in (plain, masked))
    # The recorded loss is the classification's alone: before the first step it is the same number.
    one, other = (start(arm, training={"steps_per_epoch": 1}).train_epoch().train_loss for arm in (SUM, MASKS))
    assert one == other
    assert first.val_loss != second.val_loss
    assert second.parameters > first.parameters
    # What predicts is the network without the head.
    assert list(weights(masked)) == list(weights(plain))


def test_a_weight_of_zero_is_the_arm_without_masks_bit_for_bit(start, tmp_path):
    also = {"search": {"also": {"training.segmentation_weight": [0, 1]}}}
    plain = start(SUM)
    zero = start(MASKS, settings='{"training.segmentation_weight": 0.0}', **also)
    assert [zero.train_epoch().row() for _ in range(2)] == [plain.train_epoch().row() for _ in range(2)]
    plain.save(tmp_path / "plain")
    zero.save(tmp_path / "zero")
    assert "segmentation" not in load_state(tmp_path / "zero")[0]
    assert load_state(tmp_path / "zero")[0].keys() == load_state(tmp_path / "plain")[0].keys()
    one = start(MASKS, settings='{"training.segmentation_weight": 1.0}', **also)
    assert one.train_epoch().row() != plain.reports[0].row()


def test_the_classical_floor_learns_from_its_features_alone(start):
    run = start(CLASSICAL)
    assert run.train_epoch().parameters == 5 * 64 + 5
    shuffled = start(CLASSICAL)
    shuffled._batches.crops = lambda rows, generator: torch.zeros(len(rows), 3, 16, 16)
    assert shuffled.train_epoch().row() == run.reports[0].row()
    assert start(OFF).train_epoch().row() != run.reports[0].row()


def test_a_network_starts_from_given_weights_but_for_its_head(start):
    drawn, given = weights(start(NETWORK)), weights(start(GIVEN))
    same = {name for name in drawn if torch.equal(drawn[name], given[name])}
    assert {"network.classifier.3.weight", "network.classifier.3.bias"} <= same
    assert "network.features.0.0.weight" not in same


def test_dropout_is_the_same_whatever_was_drawn_before(start):
    torch.manual_seed(1)
    first = start(NETWORK).train_epoch()
    torch.rand(7)
    before = torch.get_rng_state()
    assert start(NETWORK).train_epoch().row() == first.row()
    assert torch.equal(before, torch.get_rng_state())


def test_what_the_search_chose_for_a_trial_is_what_it_is_trained_with(start):
    changes = {"search": {"also": {"training.sampling": ["natural", "balanced"]}}}
    chosen = start(settings='{"training.sampling": "balanced"}', **changes)
    configured = start(training={"sampling": "balanced"})
    assert chosen.train_epoch().row() == configured.train_epoch().row() != start().train_epoch().row()


def test_colours_are_moved_only_where_asked_and_then_crops_and_order_stay(start, monkeypatch):
    seen: list[torch.Tensor] = []
    keep = run_module.recolour

    def watched(images, draws, jitter):
        seen.append(images.clone())
        return keep(images, draws, jitter)

    monkeypatch.setattr(run_module, "recolour", watched)
    plain = start()
    plain.train_epoch()
    assert seen == []
    crops = []
    original = ImageBatches.crops
    monkeypatch.setattr(ImageBatches, "crops", lambda *a: (crops.append(original(*a)), crops[-1])[1])
    start().train_epoch()
    without = list(crops)
    crops.clear()
    moved = start(
        settings='{"training.hue": 0.2, "training.stain_jitter": 0.1}', search={"also": {"training.hue": [0.0, 0.2]}}
    )
    moved.train_epoch()
    assert len(seen) == len(crops) == len(without) > 0
    assert all(map(torch.equal, crops, without)) and all(map(torch.equal, crops, seen))
    assert moved.reports[0].row() != plain.reports[0].row()


def test_moved_colours_are_the_same_after_an_interruption(start, tmp_path):
    jitter = {"training": {"stain_jitter": 0.1, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}}
    whole = start(**jitter)
    rows = [whole.train_epoch().row() for _ in range(2)]
    first = start(**jitter)
    first.train_epoch()
    first.save(tmp_path / "checkpoint")
    second = start(**jitter)
    second.load(tmp_path / "checkpoint")
    assert second.train_epoch().row() == rows[1]


def test_predictions_are_those_of_the_epoch_chosen_on_validation(start):
    run = start(phase="confirm")
    reports = [run.train_epoch() for _ in range(3)]
    predictions = run.predictions()
    arrays = run._batches.arrays
    assert predictions.probabilities.shape == (40, 5)
    assert np.allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-5)
    chosen = reports[predictions.epoch - 1]
    val = arrays.splits[predictions.rows] == "val"
    labels = arrays.labels[predictions.rows][val]
    predicted = predictions.probabilities[val].argmax(axis=1)
    assert confusion_matrix(labels, predicted, labels=range(5)).ravel().tolist() == list(chosen.confusion)
    accuracies = [np.trace(np.reshape(r.confusion, (5, 5))) / 20 for r in reports]
    assert accuracy_score(labels, predicted) == max(accuracies)
    best = min(r.val_loss for r, a in zip(reports, accuracies, strict=True) if a == max(accuracies))
    assert chosen.val_loss == best


def test_diverged_training_says_so_and_keeps_the_best_epoch(start):
    run = start(learning_rate=1e30, phase="confirm")
    while not run.done:
        run.train_epoch()
    assert run.reports[-1].diverged
    assert run.reports[-1].row()["train_loss"] is None or math.isfinite(run.reports[-1].row()["train_loss"])


def test_plateau_schedule_halves_the_rate_when_accuracy_does_not_rise(start):
    run = start(training={"epochs": 8, "plateau_patience": 0}, learning_rate=1e-3)
    reports = [run.train_epoch() for _ in range(8)]
    accuracy = [np.trace(np.reshape(report.confusion, (5, 5))) / 20 for report in reports]
    rises = [accuracy[i] > max([0, *accuracy[:i]]) for i in range(8)]
    expected = [1e-3 * 0.5 ** rises[:i].count(False) for i in range(8)]
    assert [report.learning_rate for report in reports] == pytest.approx(expected)
    assert False in rises[:7]


def test_cosine_schedule_falls_from_the_trials_rate_to_zero(start):
    run = start(training={"schedule": "cosine", "epochs": 3, "steps_per_epoch": 2}, learning_rate=1e-3)
    rates = [run.train_epoch().learning_rate for _ in range(3)]
    # The last steps of the epochs are numbers 1, 3 and 5 of 0 to 5.
    assert rates == pytest.approx([1e-3 * (1 + np.cos(np.pi * step / 6)) / 2 for step in (1, 3, 5)])


def test_reports_of_one_epoch_are_equal_but_for_their_duration(start):
    report = start().train_epoch()
    assert replace(report, seconds=report.seconds + 1).row() == report.row()
