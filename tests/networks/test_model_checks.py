"""Whether models can be opened, found out without memory for their weights."""

import pytest
import torch
from runs import HERE, TinyNetwork
from torch import nn

from ddp_tasks.networks import CifarResNet
from ddp_tasks.networks.model_checks import check_model
from ddp_tasks.networks.models import open_model
from schemas.parameters import ModelParameters, RunError

TINY = f"{HERE}:TinyNetwork"

#: Factories that torch's meta device alone does not serve, and one that fails.
CODE = """
import torch
from torch import nn
MEAN = torch.ones(1)
def counting():
    network = nn.Linear(3, 2)
    network.scale = network.weight.sum().item() + MEAN.item()
    return network
def failing():
    raise OSError("gone")
"""


def asked(factory, weights=None, **kwargs):
    return ModelParameters(
        factory=factory, kwargs=kwargs, weights=None if weights is None else str(weights)
    )


@pytest.fixture
def code(tmp_path):
    (tmp_path / "network.py").write_text(CODE)
    return tmp_path / "network.py"


@pytest.mark.parametrize("archive", [True, False], ids=["today's format", "torch's old format"])
def test_what_can_be_opened_passes_and_leaves_no_trace(tmp_path, archive):
    state = TinyNetwork().state_dict()
    file = tmp_path / "weights.pt"
    torch.save({"model": state}, file, _use_new_zipfile_serialization=archive)
    before = torch.get_rng_state()
    check_model(asked(TINY, file))
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(parameter.is_meta for parameter in open_model(asked(TINY, file)).parameters())


def test_counts_of_batches_may_be_missing(tmp_path):
    state = CifarResNet(8).state_dict()
    counts = [name for name in state if name.endswith("num_batches_tracked")]
    assert counts
    torch.save({n: v for n, v in state.items() if n not in counts}, tmp_path / "weights.pt")
    check_model(asked("ddp_tasks.networks:CifarResNet", tmp_path / "weights.pt", depth=8))


def test_a_network_that_needs_its_numbers_is_built_with_them(tmp_path, code):
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "weights.pt")
    check_model(asked(f"{code}:counting", tmp_path / "weights.pt"))


@pytest.mark.parametrize("what", ["shape", "name", "nan", "cut", "code", "weights' name"])
def test_what_opening_refuses_is_refused_in_the_same_words(tmp_path, code, what):
    file, factory = tmp_path / "weights.pt", TINY
    state = TinyNetwork().state_dict()
    if what == "shape":
        state["fc2.weight"] = torch.ones(7, 7)
    elif what == "name":
        state["fc3.weight"] = state.pop("fc2.weight")
    elif what == "nan":
        state["fc2.weight"][0, 1] = torch.nan
    torch.save(state, file)
    if what == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif what == "code":
        factory, file = f"{code}:failing", None
    elif what == "weights' name":
        factory, file = "torchvision.models:resnet18", "NOSUCH_V1"
    model = asked(factory, file)
    with pytest.raises(RunError) as opening:
        open_model(model)
    with pytest.raises(RunError) as checking:
        check_model(model)
    assert str(checking.value) == str(opening.value)


def test_numbers_may_be_left_unread(tmp_path):
    state = TinyNetwork().state_dict()
    state["fc2.weight"][0, 1] = torch.nan
    torch.save(state, tmp_path / "weights.pt")
    check_model(asked(TINY, tmp_path / "weights.pt"), numbers=False)
