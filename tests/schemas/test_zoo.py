import pytest
import torch
from torch import nn

from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.paper_networks import CifarResNet
from schemas import RunError
from schemas.run_files import load_zoo, presets


@pytest.mark.parametrize("name", sorted(presets("zoos")))
def test_every_zoo_that_comes_with_the_package_is_allowed(name):
    zoo = load_zoo(name)
    assert zoo.name == name
    assert len({model.name for model in zoo.models}) == len(zoo.models) >= 3


def test_checkpoints_are_looked_up_in_the_folder(tmp_path):
    zoo = load_zoo("cifar10-resnets", [f"folder={tmp_path}"])
    torch.save(CifarResNet(20).state_dict(), tmp_path / "cifar10_resnet20.pt")
    assert zoo.models[0].parameters.weights_file == tmp_path / "cifar10_resnet20.pt"
    assert isinstance(open_model(zoo.models[0].parameters), CifarResNet)
    with pytest.raises(RunError, match=r"cifar10_resnet32\.pt' does not exist"):
        open_model(zoo.models[1].parameters)


def test_a_zoo_file_names_weights_beside_itself(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "input_size: [3, 32, 32]\n"
        "models:\n"
        "  - {name: a, family: f, accuracy: 90, factory: net.py:Net, weights: a.pt}\n"
    )
    (model,) = load_zoo(str(file)).models
    assert model.factory == f"{tmp_path}/net.py:Net"
    assert model.weights == f"{tmp_path}/a.pt"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("models=[]", "models: [] is refused"),
        ("accuracy=3", "accuracy: unknown key"),
        ("input_size=[3, 32]", "input_size"),
        ("matrizations=[gram]", "should be 'unfolded', 'toeplitz', 'slices' or 'channels'"),
        (
            "models=[{name: a, family: f, accuracy: 1, factory: 'm:f'},"
            "{name: a, family: f, accuracy: 2, factory: 'm:f'}]",
            "the name 'a' is given twice",
        ),
        (
            "models=[{name: a, family: f, accuracy: 101, factory: 'm:f'}]",
            "models.0.accuracy: 101 is refused; should be less than or equal to 100",
        ),
    ],
)
def test_what_a_zoo_may_not_say_is_refused(override, said):
    with pytest.raises(RunError) as refusal:
        load_zoo("cifar10-resnets", [override])
    assert said in str(refusal.value)


@pytest.mark.parametrize(("depth", "layers"), [(8, 8), (20, 20), (32, 32)])
def test_a_residual_network_of_depth_n_has_n_linear_layers(depth, layers):
    network = CifarResNet(depth).eval()
    kinds = (nn.Conv2d, nn.Linear)
    assert sum(isinstance(module, kinds) for module in network.modules()) == layers
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_shortcut_pads_channels_with_zeros_on_both_sides():
    # With its second normalisation at scale 0 a block is the ReLU of its shortcut alone.
    block = CifarResNet(8).eval().layer2[0]
    nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 16, 4, 4)
    expected = torch.zeros(1, 32, 2, 2)
    expected[:, 8:24] = x[:, :, ::2, ::2]
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize("depth", [2, 21, 55])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=f"depth is {depth}; 6n"):
        CifarResNet(depth)
