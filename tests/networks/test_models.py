import os
import pickle

import pytest
import torch
from torch import nn
from toy_networks import InPlaceNetwork

from ddp_tasks.networks.checkpoint_files import read_checkpoint
from ddp_tasks.networks.models import (
    check_weights,
    model_digest,
    open_model,
    open_weighted,
    unwrapped,
)
from ddp_tasks.networks.paper_networks import CifarVGG16, PaperNetwork
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


def test_a_checkpoint_gives_its_weights_and_the_place_they_were_taken_from(tmp_path):
    saved, file = InPlaceNetwork(), tmp_path / "weights.pth.tar"
    torch.save({"state_dict": nn.DataParallel(saved).state_dict(), "epoch": 3}, file)
    model, weights = open_weighted(ModelParameters(factory=FACTORY, weights=str(file)))
    assert model_digest(model) == model_digest(saved)
    assert str(weights) == "entry 'state_dict', 'module.' taken off each name"


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
    with pytest.raises(RunError, match=r"without running code|is no checkpoint"):
        read_checkpoint(file)
    assert not made.exists()


@pytest.mark.parametrize("content", [torch.ones(2), {"fc": 3}, [torch.ones(2)]])
def test_tensors_by_name_are_needed(tmp_path, content):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(RunError, match="holds no state dict"):
        _open(str(tmp_path / "weights.pt"))


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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scheme", ["tensor", "channel"])
def test_digests_of_quantised_networks_tell_values_and_scales_apart(scheme):
    def digest(value, scale):
        layer = nn.Module()
        kept = torch.full((2, 3), value)
        layer.register_buffer(
            "weight",
            torch.quantize_per_tensor(kept, scale, 0, torch.qint8)
            if scheme == "tensor"
            else torch.quantize_per_channel(
                kept, torch.full((2,), scale), torch.zeros(2), 0, torch.qint8
            ),
        )
        return model_digest(layer)

    # 4 steps of 0.5 are stored as 8 steps of 0.25 are not, and as 4 steps of 0.25 are.
    assert digest(2.0, 0.5) == digest(2.0, 0.5)
    assert len({digest(2.0, 0.5), digest(2.0, 0.25), digest(1.0, 0.25)}) == 3


@pytest.mark.filterwarnings("ignore")
def test_networks_that_keep_other_things_than_tensors_are_opened_and_digested():
    from torch.ao.quantization import quantize_dynamic

    def quantised(classes=3):
        with torch.random.fork_rng():
            torch.manual_seed(classes)
            return quantize_dynamic(nn.Sequential(nn.Linear(2, classes)).eval(), {nn.Linear})

    assert model_digest(quantised()) == model_digest(quantised())
    assert model_digest(quantised()) != model_digest(quantised(4))

    class WithState(nn.Linear):
        def __init__(self, said):
            super().__init__(1, 1)
            nn.init.ones_(self.weight)
            nn.init.ones_(self.bias)
            self.said = said

        def get_extra_state(self):
            return {"said": self.said, "at": [object()]}

    assert (
        model_digest(WithState("a")) == model_digest(WithState("a")) != model_digest(WithState("b"))
    )


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, dtype=torch.complex64).conj(),
        torch.ones(2).to_sparse(),
        torch.tensor(3),
        torch.ones(0),
        torch.ones(2, dtype=torch.bfloat16),
        torch.ones(3, 2).T,
        torch.ones(2).to(torch.float8_e4m3fn),
    ],
)
def test_digests_of_every_kind_of_tensor(tensor):
    def digest(value):
        module = nn.Module()
        module.register_buffer("buffer", value)
        return model_digest(module)

    assert digest(tensor) == digest(tensor.clone())
    if tensor.numel():
        assert digest(tensor) != digest(torch.zeros_like(tensor))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_networks_that_come_wrapped_are_opened_themselves(wrap):
    network = InPlaceNetwork()
    assert unwrapped(wrap(network)) is network
    assert unwrapped(nn.DataParallel(wrap(network))) is network
    assert unwrapped(network) is network


def test_weights_that_are_not_finite_are_refused_by_their_tensors(tmp_path):
    state = InPlaceNetwork().state_dict()
    names = [name for name, tensor in state.items() if tensor.is_floating_point()]
    state[names[0]].view(-1)[:2] = torch.nan
    state[names[-1]].view(-1)[0] = -torch.inf
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    with pytest.raises(RunError, match=rf"^model\.weights .*weights\.pt': 2 of {len(state)}") as e:
        _open(str(tmp_path / "weights.pt"))
    assert f"hold NaN or infinity: {names[0]} (2 of " in str(e.value)
    assert f"{names[-1]} (1 of " in str(e.value)


def test_buffers_may_be_infinite_and_weights_must_be_there():
    network = nn.Linear(1, 1)
    network.register_buffer("mask", torch.tensor([0, -torch.inf]))
    check_weights(network, "here")
    with pytest.raises(RunError, match="here: 2 of 2 tensors hold no data: weight, bias"):
        check_weights(nn.Linear(1, 1, device="meta"), "here")
    with pytest.raises(RunError, match=r"here: 2 of 2 tensors hold no data: 0\.weight"):
        check_weights(nn.Sequential(nn.LazyLinear(2)), "here")
    network.register_buffer("mean", torch.tensor(torch.nan))
    with pytest.raises(RunError, match=r"1 of 4 tensors hold NaN or infinity: mean \(1 of 1\)"):
        check_weights(network, "here")


def test_an_entry_goes_with_a_file_alone():
    with pytest.raises(RunError, match=r"model\.entry: 'ema' names a place in a file"):
        open_model(
            ModelParameters(factory="torchvision.models:resnet18", weights="DEFAULT", entry="ema")
        )
    with pytest.raises(ValueError, match="entry is a place in a checkpoint"):
        ModelParameters(factory="torchvision.models:resnet18", entry="ema")


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


@pytest.mark.slow
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
