"""A GPU is never waited for in the middle of a shard, as torch's fake tensors show without one."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ddp_tasks.networks.forward_pass import ForwardPass, folded_copy, forward_pass
from ddp_tasks.networks.imagenet_networks import efficientnet_lite
from ddp_tasks.networks.paper_networks import CifarResNet, PaperNetwork
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract, passed
from ddp_tasks.signals.spatial_statistics import Thresholds, rows_of_batches
from schemas.parameters import ExtractionParameters

# Networks with weights in several places compare where these lie.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")

GPU = torch.device("cuda")
#: Operators that give the host a number, or a shape that depends on numbers.
WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}


class Waits(TorchDispatchMode):
    """Notes the operators for which the host waits for a GPU."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func._schema.name
        if name in WAITING:
            self.noted.append(name)
        if name in ("aten::_to_copy", "aten::copy_"):
            source = args[1] if name == "aten::copy_" else args[0]
            crosses = source.device.type != result.device.type
            behind = kwargs.get("non_blocking") or (name == "aten::copy_" and args[2:] == (True,))
            if crosses and not behind:
                self.noted.append(f"{name} from {source.device.type} to {result.device.type}")
        return result


def on_fake_gpu(model, mode):
    """A network whose weights are moved to a GPU that is not there."""
    for module in model.modules():
        for name, own in module._parameters.items():
            if own is not None:
                fake = mode.from_tensor(own.detach()).to(GPU)
                module._parameters[name] = nn.Parameter(fake, requires_grad=False)
        for name, own in module._buffers.items():
            if own is not None:
                module._buffers[name] = mode.from_tensor(own).to(GPU)
    return model


NETWORKS = {
    "paper": (PaperNetwork, (1, 28, 28)),
    "resnet": (CifarResNet, (3, 32, 32)),
    "efficientnet": (lambda: efficientnet_lite(0), (3, 32, 32)),
}


@pytest.fixture(params=NETWORKS)
def traced(request):
    """A network with its layers, and the shape of its images."""
    make, shape = NETWORKS[request.param]
    model = make().eval().requires_grad_(False)
    return model, trace_layers(model, torch.randn(2, *shape)), shape


@pytest.fixture
def no_events(monkeypatch):
    """Events of a GPU, which need one, are those of the processor."""
    monkeypatch.setattr(torch.cuda, "Event", torch.cpu.Event)


def fake_pass(model, layers, mode):
    vectors = {
        one.name: torch.empty(one.shape[0], one.greatest_rank, dtype=torch.float64, device=GPU)
        for one in layers.linear
    }
    fake = on_fake_gpu(model, mode)
    return ForwardPass(fake, layers.linear, vectors, convention=layers.convention)


@pytest.mark.usefixtures("no_events")
@pytest.mark.parametrize("folded", [False, True])
def test_no_operator_of_a_shard_waits_for_the_gpu(traced, folded):
    model, layers, shape = traced
    if folded:
        model, _ = folded_copy(model, layers.linear, torch.randn(2, *shape), layers.convention)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        forward = fake_pass(model, layers, mode)
        batches = [torch.empty(n, *shape, device=GPU) for n in (4, 4, 3)]
        with Waits() as waits:
            passed(forward, batches)
    assert waits.noted == []


@pytest.mark.usefixtures("no_events")
def test_no_operator_of_a_shards_positions_waits_for_the_gpu(traced):
    model, layers, shape = traced
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        forward = fake_pass(model, layers, mode)
        batches = [torch.empty(n, *shape, device=GPU) for n in (4, 3)]
        thresholds = {one.name: Thresholds(0.5, 0.5) for one in forward.layers}
        with Waits() as waits:
            rows_of_batches(forward, thresholds, batches)
    assert waits.noted == []


def test_waiting_is_noticed():
    with FakeTensorMode(), Waits() as waits:
        there = torch.empty(3, device=GPU)
        there.cpu()
        there.to("cpu", non_blocking=True)
        there.copy_(torch.empty(3))
        there.copy_(torch.empty(3), non_blocking=True)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            there.sum().item()
    assert waits.noted[:2] == ["aten::_to_copy from cuda to cpu", "aten::copy_ from cpu to cuda"]
    assert len(waits.noted) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_is_not_waited_for_and_gives_the_processors_signals(traced):
    model, layers, shape = traced
    vectors = {
        one.name: torch.linalg.qr(torch.randn(one.shape[0], one.greatest_rank).double())[0]
        for one in layers.linear
    }
    images = torch.randn(11, *shape)

    def on(device):
        given = copy.deepcopy(model), layers.linear, vectors, images[:2]
        options = ExtractionParameters()
        return forward_pass(*given, options=options, device=device, convention=layers.convention)

    expected = extract(on(torch.device("cpu")), images.split(4))
    forward, batches = on(GPU), images.to(GPU).split(4)
    passed(forward, batches).signals()  # libraries are loaded and chosen here
    torch.cuda.set_sync_debug_mode("error")
    try:
        shard = passed(forward, batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = shard.signals()
    assert (found.predicted == expected.predicted).all()
    # Float32 sums in another order, through up to fifty layers.
    size = np.sqrt(np.nanmean(expected.signal.astype(np.float64) ** 2, axis=(0, 2)))
    error = np.nanmax(np.abs(found.signal - expected.signal), axis=(0, 2))
    assert (error < 1e-3 * size).all()
