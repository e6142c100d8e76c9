import os
import pickle

import pytest
import torch
from torch import nn
from toy_networks import InPlaceNetwork

from ddp_tasks.models import model_digest, open_model, read_checkpoint
from ddp_tasks.networks import CifarVGG16, PaperNetwork
from schemas import RunError
from schemas.parameters import ModelParameters

FACTORY = "toy_networks:InPlaceNetwork"


def _open(weights=None, factory=FACTORY, **kwargs):
    return open_model(ModelParameters(factory=factory, kwargs=kwargs, weights=weights))


def test_a_model_is_opened_in_evaluation_mode_without_gradients():
    model = _open(classes=7)
    assert model.fc2.out_features == 7
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state}])
def test_checkpoints_bare_or_under_state_dict(tmp_path, wrap):
    saved = InPlaceNetwork()
    file = tmp_path / "weights.pt"
    torch.save(wrap(saved.state_dict()), file)
    assert model_digest(_open(str(file))) == model_digest(saved)


def test_other_entries_beside_the_state_dict_are_left_alone(tmp_path):
    saved = InPlaceNetwork()
    file = tmp_path / "weights.ckpt"
    torch.save({"epoch": 3, "state_dict": saved.state_dict(), "optimizer": {"lr": 0.1}}, file)
    assert set(read_checkpoint(file)) == set(saved.state_dict())


class _Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("save", [torch.save, lambda x, f: f.write_bytes(pickle.dumps(x, 2))])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, save):
    file, made = tmp_path / "weights.pt", tmp_path / "made"
    save({"state_dict": _Code(str(made))}, file)
    with pytest.raises(RunError, match="is no checkpoint"):
        read_checkpoint(file)
    assert not made.exists()


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(InPlaceNetwork(), tmp_path / "model.pt")
    with pytest.raises(RunError, match="is no checkpoint"):
        read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04"])
def test_files_that_are_no_checkpoint_are_refused(tmp_path, content):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"weights\.pt' is no checkpoint"):
        read_checkpoint(tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [torch.ones(2), {"fc": 3}, [torch.ones(2)]])
def test_tensors_by_name_are_needed(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(RunError, match="holds no state dict"):
        read_checkpoint(tmp_path / "weights.pt")


def test_weights_of_another_network_name_what_does_not_fit(tmp_path):
    torch.save(InPlaceNetwork(classes=4).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(RunError, match=r"do not fit 'toy_networks:InPlaceNetwork'.*") as refusal:
        _open(str(tmp_path / "weights.pt"))
    assert "fc2.weight" in str(refusal.value)


def test_missing_checkpoints_are_refused(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        _open(str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    ("factory", "weights"),
    [
        (FACTORY, "DEFAULT"),
        (FACTORY, "NoWeights.DEFAULT"),
        ("torchvision.models:resnet18", "IMAGENET9K"),
    ],
)
def test_weights_names_that_torchvision_does_not_know_are_refused(factory, weights):
    with pytest.raises(RunError, match=f"'{weights}' is neither a file"):
        _open(weights, factory)


def test_factories_that_give_no_network_are_refused():
    with pytest.raises(RunError, match="gave a int, not a network"):
        _open(factory="toy_networks:not_a_network")


def test_digest_tells_values_names_types_and_buffers_apart():
    def network(change=lambda model: None):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
        change(model)
        return model_digest(model)

    def nudge(model):
        with torch.no_grad():
            model[0].weight[0] += 1e-6

    same = network()
    assert same == network()
    others = {
        network(nudge),
        network(lambda model: model[1].running_mean.add_(1)),
        network(lambda model: model.double()),
        network(lambda model: model.append(nn.Linear(1, 1))),
    }
    assert len(others) == 4
    assert same not in others


def test_the_papers_network():
    # Section 4.2: 28 - 2 = 26, 26 - 2 = 24, pooled to 12; 12 * 12 * 64 = 9216.
    model = PaperNetwork().eval()
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters() if "weight" in name}
    assert shapes == {
        "conv1.weight": (32, 1, 3, 3),
        "conv2.weight": (64, 32, 3, 3),
        "fc1.weight": (128, 9216),
        "fc2.weight": (10, 128),
    }
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_checkpoint_in_half_precision_fits_a_network_in_single(tmp_path):
    state = {name: tensor.half() for name, tensor in CifarVGG16().state_dict().items()}
    state = {k: v if "num_batches" not in k else v.long() for k, v in state.items()}
    torch.save(state, tmp_path / "vgg.pt")
    parameters = ModelParameters(
        factory="ddp_tasks.networks:CifarVGG16", weights=str(tmp_path / "vgg.pt")
    )
    model = open_model(parameters)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert sum(isinstance(module, torch.nn.Conv2d) for module in model.modules()) == 13
