"""Which variant of a network a checkpoint fits, said where it does not fit the one asked for."""

import pytest
import torch
import torchvision
from toy_networks import InPlaceNetwork

from ddp_tasks.networks import CifarResNet
from ddp_tasks.networks.fitting_variants import fitting_variant, shown_variant
from ddp_tasks.networks.models import open_model
from schemas.parameters import ModelParameters, RunError

RESNET = "ddp_tasks.networks:CifarResNet"


@pytest.mark.parametrize(
    ("network", "factory", "kwargs", "said"),
    [
        (lambda: CifarResNet(depth=20), RESNET, {"depth": 56}, "depth=20"),
        # It holds every tensor of the one asked for, and others.
        (lambda: CifarResNet(depth=32), RESNET, {"depth": 20}, "depth=32"),
        (lambda: InPlaceNetwork(classes=4), "toy_networks:InPlaceNetwork", {}, "classes=4"),
        (
            lambda: torchvision.models.resnet34(num_classes=7),
            "torchvision.models:resnet18",
            {"num_classes": 7},
            "torchvision.models:resnet34",
        ),
        # Of no network of the package.
        (InPlaceNetwork, RESNET, {"depth": 20}, None),
    ],
)
def test_the_variant_that_a_checkpoint_fits_is_found(network, factory, kwargs, said, tmp_path):
    state = torch.get_rng_state()
    torch.save({"state_dict": network().state_dict()}, tmp_path / "weights.pt")
    torch.set_rng_state(state)
    # A busy machine finds it too, only later than a person is kept waiting.
    seconds = 120 if said else 2
    found = fitting_variant(factory, kwargs, tmp_path / "weights.pt", seconds)
    assert (found and shown_variant(found, factory, kwargs)) == said
    assert torch.equal(torch.get_rng_state(), state)


def test_builders_that_read_their_own_weights_say_nothing(tmp_path, recwarn):
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "weights.pt")
    assert fitting_variant("efficientnet_lite_pytorch:no", {}, tmp_path / "weights.pt", 60) is None
    assert not recwarn.list


def test_a_refused_checkpoint_says_what_it_fits_in_three_lines(tmp_path):
    torch.save(CifarResNet(depth=20).state_dict(), tmp_path / "weights.pt")
    asked = {"factory": RESNET, "kwargs": {"depth": 56}, "weights": str(tmp_path / "weights.pt")}
    with pytest.raises(RunError) as refused:
        open_model(ModelParameters(**asked))
    first, why, fits = str(refused.value).splitlines()
    assert f"do not fit '{RESNET}'" in first
    assert "missing, 180 of 332: layer1.3.conv1.weight" in why
    assert fits == "  it fits depth=20"
