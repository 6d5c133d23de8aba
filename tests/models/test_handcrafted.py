"""Features that nobody learned, and the regression on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.handcrafted import SIZE, HandcraftedFeatures, LinearClassifier

pytest.importorskip("skimage", reason="needs the extra classical")


def test_images_of_one_colour_have_known_moments_and_nothing_undefined() -> None:
    image = torch.tensor([0.2, 0.5, 0.9])[:, None, None].expand(3, 16, 20)
    (found,) = HandcraftedFeatures()(image[None]).numpy()
    assert found.shape == (SIZE,) and np.isfinite(found).all()
    np.testing.assert_allclose(found[:9], [0.2, 0.5, 0.9, 0, 0, 0, 0, 0, 0], atol=1e-6)
    # Hue, saturation and value lie in one bin each.
    assert sorted(found[18:42].tolist()) == [0] * 21 + [1] * 3


def test_colours_and_textures_tell_images_apart_and_mirroring_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand((3, 24, 24), generator=generator)
    # The same pixels in another order: equal colours, another texture.
    order = torch.randperm(576, generator=generator)
    ramp = noise.reshape(3, -1)[:, noise.mean(dim=0).ravel().argsort()].reshape(3, 24, 24)
    shuffled = ramp.reshape(3, -1)[:, order].reshape(3, 24, 24)
    one, other, mirrored = HandcraftedFeatures()(torch.stack([ramp, shuffled, ramp.flip(2)])).numpy()
    np.testing.assert_allclose(one[:42], other[:42], atol=1e-5)
    assert np.abs(one[42:] - other[42:]).max() > 0.1
    np.testing.assert_allclose(one[42:], mirrored[42:], atol=0.02)


def test_the_regression_finds_what_scikit_learn_finds() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 150)
    latents = (rng.normal(size=(150, 6)) + np.eye(3, 6)[labels]).astype(np.float32) * 7 + 3
    model = LinearClassifier(3, {"handcrafted": 6})
    given = {"handcrafted": torch.from_numpy(latents)}
    model.set_statistics(given)
    assert not model(torch.zeros(150, 3, 8, 8), given).any()
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = model(torch.zeros(150, 3, 8, 8), given)
        # The penalty of scikit-learn's C: half the squared weights, against C times the summed losses.
        value = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum")
        value = value + model.linear.weight.square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    expected = LogisticRegression(C=1.0, tol=1e-8).fit(StandardScaler().fit_transform(latents), labels)
    with torch.no_grad():
        found = model(torch.zeros(150, 3, 8, 8), given).softmax(dim=1).numpy()
    np.testing.assert_allclose(found, expected.predict_proba(StandardScaler().fit_transform(latents)), atol=2e-3)
