"""Classifiers of torchvision, as they are built there, on images as small as they take."""

import numpy as np
import pytest
import torch
import torchvision

from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import unfolded_weight
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.weights.tensor_svd import decompose

pytestmark = pytest.mark.slow

#: Wider layers are read along their first channels instead of their singular vectors.
_DECOMPOSED = 2**14

#: Model, what it is built with, size of its images, linear layers, kinds of what is left out.
MODELS = [
    ("resnet18", {}, 32, 21, {"BatchNorm2d"}),
    ("mobilenet_v2", {}, 32, 53, {"BatchNorm2d"}),
    ("squeezenet1_1", {}, 32, 26, set()),
    ("shufflenet_v2_x0_5", {}, 32, 57, {"BatchNorm2d"}),
    ("efficientnet_b0", {}, 32, 82, {"BatchNorm2d"}),
    # 4 stem layers, 12 blocks of qkv, proj and two of the MLP, 3 mergings, the head.
    ("swin_t", {}, 32, 53, {"LayerNorm", "parameter"}),
    # The patch embedding, 12 blocks of q, k, v, out_proj and two of the MLP, the head.
    ("vit_b_16", {"image_size": 32}, 32, 74, {"LayerNorm", "parameter"}),
    ("convnext_tiny", {}, 32, 59, {"LayerNorm2d", "LayerNorm", "parameter"}),
    (
        "googlenet",
        {"init_weights": False, "aux_logits": True},
        32,
        58,
        {"BatchNorm2d", "Conv2d", "Linear"},
    ),
]


def _vectors(model, layer):
    d, columns = layer.unfolded_shape
    if d * columns > _DECOMPOSED:
        return torch.eye(d, 4, dtype=torch.float64)
    return decompose(unfolded_weight(model, layer).detach(), layer.groups).U


@pytest.mark.parametrize(
    ("name", "options", "size", "layers", "left_out"), MODELS, ids=[model[0] for model in MODELS]
)
def test_every_linear_layer_is_traced_and_gives_signals(name, options, size, layers, left_out):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torchvision.models.get_model(name, weights=None, **options).eval()
        images = torch.rand(2, 3, size, size)
    found = trace_layers(model, images[:1])
    assert len(found.linear) == layers
    assert {reason.partition(" ")[0] for reason in found.not_analysed.values()} == left_out
    for layer in found.linear:
        assert unfolded_weight(model, layer).shape == layer.unfolded_shape
    if name == "googlenet":
        heads = {n for n in found.not_analysed if n.startswith("aux")}
        assert {"aux1.fc2", "aux2.conv.conv"} <= heads
        assert all("evaluation leaves out" in found.not_analysed[n] for n in heads)

    U = {layer.name: _vectors(model, layer) for layer in found.linear}
    signals = extract(ForwardPass(model, found.linear, U), [images]).signal
    for position, layer in enumerate(found.linear):
        rank = U[layer.name].shape[1]
        assert np.isfinite(signals[:, position, :rank]).all(), layer.name
        differ = not np.array_equal(signals[0, position, :rank], signals[1, position, :rank])
        # torchvision starts the head of a vision transformer with zeros.
        assert differ or (name, layer.name) == ("vit_b_16", "heads.head")


def test_the_table_of_all_models_has_a_row_for_each(tmp_path, monkeypatch):
    from benchmarks import torchvision_layers as table

    monkeypatch.setattr(table, "SIZES", (32,))
    out = tmp_path / "table.md"
    monkeypatch.setattr("sys.argv", ["", "squeezenet1_1", "alexnet", "--out", str(out)])
    threads = torch.get_num_threads()
    table.main()
    torch.set_num_threads(threads)
    rows = out.read_text().splitlines()[-2:]
    # 8 of its weights have at most 4,096 entries: conv1's 64 x 27 and those of the first squeezes
    # and 1 x 1 expansions, up to 128 x 32.
    assert rows[0] == "| squeezenet1_1 | 32 | 26 | 8 | 512 | - | yes |"
    # alexnet takes no image this small.
    assert "| no: RuntimeError: takes no image of (32,) pixels |" in rows[1]
    assert "2 models: 1 gave signals in every layer; 26 layers in all." in out.read_text()
