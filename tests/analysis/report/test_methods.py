"""The methods of a study, from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from analysis import load_study
from analysis.report.methods import methods
from analysis.wording.formats import MISSING

Make = Callable[..., Any]


def test_every_paragraph_says_what_the_configuration_says(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.config |= {
        "data": {"image_size": 64, "crop_scale": [0.5, 1.0], "flip": 0.5, "validation_size": "original"},
        "arms": {
            "fractions": [1.0, 0.01],
            "fusion": ["off", "sum", "gated"],
            "encoders": ["prcc", "cam16"],
            "networks": {"resnet18": True, "resnet34": False},
        },
        "model": {"width": 32},
        "training": {"epochs": 30, "steps_per_epoch": 11, "batch_size": 16, "schedule": "cosine", "hue": 0.1},
        "confirm": {"seeds": 5},
    }
    directory.config["search"] = {
        "metric": "val_macro_f1",
        "mode": "grid",
        "grid_learning_rate": [0.001, 0.01],
        "grid_weight_decay": [0.0],
        "scheduler": "asha",
    }
    data, model, search, confirmation = methods(load_study(directory.save()))
    assert data == (
        "Training images were random crops resized to 64 x 64 pixels (50 to 100 % of the image's area), flipped horizontally "
        "with probability 0.5. Validation and test images were used whole, at their original size. Classifiers were trained on "
        "1 %, 100 % of the labelled training images; subsets are nested, stratified by class, and drawn anew for every seed."
    )
    assert model == (
        "The classifier is a residual network of three stages of two blocks (32, 64 and 128 channels), trained for 30 epochs of "
        "11 gradient steps each (whatever the fraction) with Adam in batches of 16 (schedule: cosine), minimising cross-entropy. "
        "Colours of training images were moved at random: hue (± 0.1). In arms of their own other classifiers stand in its "
        "place: resnet18, resnet34 of torchvision (given weights: resnet18; all but the head), which see images normalised as "
        "ImageNet's. In the arms with pretraining (sum, gated) features of the image itself from frozen encoders (PRCC and "
        "CAM16) join the classifier, in training and in validation alike."
    )
    assert search == (
        "Learning rate and weight decay of every arm were tuned separately with a grid and 3 trials (learning rate 0.001, 0.01; "
        "weight decay 0.0); trials were stopped early by asynchronous successive halving. Winners and epochs were chosen by "
        "validation macro F1 among full-length trials."
    )
    assert confirmation.startswith(
        "The winner of each arm was trained again with 5 seeds that the search had not used; subset"
    )


def test_what_the_configuration_does_not_say_is_left_out(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.config |= {"data": {"image_size": 28, "validation_size": 32}, "training": {"epochs": 2}}
    assert methods(load_study(directory.save())) == [
        "Training images were random crops resized to 28 x 28 pixels. Validation and test images were used whole, resized to 32 "
        "pixels.",
        "The classifier is a residual network of three stages of two blocks, trained for 2 epochs with Adam in batches of "
        f"{MISSING}, "
        "minimising cross-entropy.",
    ]


def test_methods_say_who_suggested_the_points(run_directory: Make, fill_directory: Make) -> None:
    directory = fill_directory(run_directory())
    directory.config["search"] = {"metric": "val_accuracy", "mode": "tpe", "tpe_startup": 1}
    assert "1 quasi-random point, then a tree-structured" in " ".join(methods(load_study(directory.save())))
    directory.config["search"]["tpe_startup"] = 100
    text = " ".join(methods(load_study(directory.save())))
    assert "quasi-random points (as many trials as come before" in text
