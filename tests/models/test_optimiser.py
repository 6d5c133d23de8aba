"""Adam steps as torch's does, whatever the memory layout, and leaves the compiler alone."""

import subprocess
import sys
from copy import deepcopy

import pytest
import torch

from models.classifier import ResidualClassifier
from models.initialisation import stream
from models.optimiser import Adam

CHANNELS_LAST = torch.channels_last


def network(layout=CHANNELS_LAST):
    return ResidualClassifier(5, 8, stream(0, "classifier")).to(memory_format=layout)


def train(model, optimiser, steps, seed=0):
    for step in range(steps):
        images = torch.rand(4, 3, 16, 16, generator=stream(seed, step)).contiguous(memory_format=CHANNELS_LAST)
        loss = torch.nn.functional.cross_entropy(model(images), torch.arange(4))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def parameters(model):
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("layout", [CHANNELS_LAST, torch.contiguous_format])
def test_it_steps_as_the_plain_optimiser_of_torch_does(layout):
    ours, theirs = network(layout), network(layout)
    train(ours, Adam(ours.parameters(), 1e-3, 1e-2), steps=3)
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=1e-3, weight_decay=1e-2, foreach=False), steps=3)
    for found, expected in zip(parameters(ours), parameters(theirs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_state_that_was_laid_out_otherwise_continues_bit_for_bit():
    # A checkpoint holds contiguous tensors, the network's weights lie with channels last.
    model = network()
    optimiser = Adam(model.parameters(), 1e-3, 1e-2)
    train(model, optimiser, steps=2)
    weights, state = deepcopy(model.state_dict()), deepcopy(optimiser.state_dict())
    for moments in state["state"].values():
        moments |= {name: value.contiguous() for name, value in moments.items()}
    train(model, optimiser, steps=2, seed=1)
    resumed = network()
    resumed.load_state_dict(weights)
    continued = Adam(resumed.parameters(), 1e-3, 1e-2)
    continued.load_state_dict(state)
    train(resumed, continued, steps=2, seed=1)
    assert all(torch.equal(*pair) for pair in zip(parameters(model), parameters(resumed), strict=True))


def test_parameters_without_a_gradient_stay():
    model = network()
    model.freeze_trunk(True)
    before = deepcopy(model.state_dict())
    train(model.train(), Adam(model.parameters(), 1e-2, 1e-2), steps=1)
    changed = {name for name, _ in model.named_parameters() if not torch.equal(model.state_dict()[name], before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_schedules_of_torch_accept_it():
    optimiser = Adam(network().parameters(), 1e-3, 0.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", factor=0.5, patience=0)
    schedule.step(1.0)
    schedule.step(0.5)
    assert optimiser.param_groups[0]["lr"] == 5e-4


def test_training_does_not_import_the_compiler():
    code = (
        "import sys, torch; from tests.models.test_optimiser import network, train; from models.optimiser import Adam\n"
        "model = network(); optimiser = Adam(model.parameters(), 1e-3, 1e-4); train(model, optimiser, 1)\n"
        "optimiser.load_state_dict(optimiser.state_dict())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
