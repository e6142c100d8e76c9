"""Layers that are no module of their own: functions, attention, computed and lazy weights."""

from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from ddp_tasks.networks.class_scores import class_scores
from ddp_tasks.networks.forward_pass import ForwardPass
from ddp_tasks.networks.layers import attach, bias, means_read, unfolded_weight, weight
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers
from ddp_tasks.signals.signals import extract
from ddp_tasks.weights.tensor_svd import decompose


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build().double().eval()


def images(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def means(model, X):
    """Mean of every layer's output less its bias, by layer."""
    found = {}
    layers = trace_layers(model, X[:1]).linear
    with torch.inference_mode(), means_read(model, layers, found.__setitem__) as run:
        run(X)
    return found


def outputs(model, X):
    """Every layer's output, by layer."""
    found = {}
    handles = attach(model, trace_layers(model, X[:1]).linear, found.__setitem__)
    with torch.no_grad():
        model(X)
    for handle in handles:
        handle.remove()
    return found


def names(model, X):
    return [layer.name for layer in trace_layers(model, X).linear]


class Functional(nn.Module):
    """Calls torch.nn.functional with its own parameters and with a module's that it never calls."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(6, 1, 3, 3))
        self.hidden = nn.Linear(6, 4)
        self.packed = nn.Parameter(torch.randn(6, 4))
        self.register_buffer("blur", torch.ones(6, 1, 2, 2) / 4)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))
        self.head = nn.Parameter(torch.randn(3, 2))

    def forward(self, X):
        x = functional.conv2d(X, self.filters, None, 1, 1, 1, 2)
        x = functional.conv2d(x * self.scale, self.blur, groups=6).mean(dim=(2, 3))
        x = functional.linear(x, self.hidden.weight, bias=self.hidden.bias).relu_()
        return functional.linear(x, self.packed[1:4]) @ self.head


def test_functions_with_parameters_of_the_network_are_layers():
    model = seeded(Functional)
    X = images(2, 2, 5, 5)
    found = trace_layers(model, X)
    assert [(x.name, x.module, x.kind, x.shape, x.groups) for x in found.linear] == [
        ("filters", "", "Conv2d", (6, 1, 3, 3), 2),
        ("hidden", "hidden", "Linear", (4, 6), 1),
        ("packed", "", "Linear", (3, 4), 1),
        ("head", "", "Linear", (2, 3), 1),
    ]
    assert found.not_analysed == {
        "scale": "parameter of Functional used in mul, not as the weight of a convolution or "
        "fully connected layer",
        "Functional.Conv2d": "Conv2d whose weight is no parameter of the network",
    }
    filters, hidden, packed, head = found.linear
    assert torch.equal(unfolded_weight(model, filters), model.filters.flatten(1))
    assert torch.equal(unfolded_weight(model, hidden), model.hidden.weight)
    assert torch.equal(bias(model, hidden), model.hidden.bias)
    assert torch.equal(unfolded_weight(model, packed), model.packed[1:4])
    assert torch.equal(unfolded_weight(model, head), model.head.T)
    assert bias(model, head) is None


def test_means_of_functions_are_read_before_anything_overwrites_them():
    model = seeded(Functional)
    X = images(3, 2, 5, 5)
    read = means(model, X)
    with torch.no_grad():
        x = functional.conv2d(X, model.filters, padding=1, groups=2)
        torch.testing.assert_close(read["filters"], x.mean(dim=(2, 3)))
        x = functional.conv2d(x * model.scale, model.blur, groups=6).mean(dim=(2, 3))
        torch.testing.assert_close(read["hidden"], x @ model.hidden.weight.T)


class Attention(nn.Module):
    """One multi-head attention with query, key and value of their own, as its options have it."""

    def __init__(self, *, batch_first=True, separate=False, bias=True):
        super().__init__()
        options = {"kdim": 3, "vdim": 5} if separate else {}
        self.attention = nn.MultiheadAttention(4, 2, bias, batch_first=batch_first, **options)
        if bias:
            nn.init.normal_(self.attention.in_proj_bias)
            nn.init.normal_(self.attention.out_proj.bias)
        self.widths = (4, 3, 5) if separate else (4, 4, 4)

    def inputs(self, X):
        inputs = [(X + 1).pow(power)[..., :w] for power, w in enumerate(self.widths, start=1)]
        return [x if self.attention.batch_first else x.transpose(0, 1) for x in inputs]

    def forward(self, X):
        x, _ = self.attention(*self.inputs(X), need_weights=False)
        return x.mean(dim=1 if self.attention.batch_first else 0)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_projections_of_attention_against_explicit_ones(batch_first, separate, with_bias):
    model = seeded(lambda: Attention(batch_first=batch_first, separate=separate, bias=with_bias))
    X = images(3, 6, 5)
    with torch.no_grad():
        query, key, value = model.inputs(X)
        attention = model.attention
        if separate:
            W = [attention.q_proj_weight, attention.k_proj_weight, attention.v_proj_weight]
        else:
            W = attention.in_proj_weight.chunk(3)
        b = attention.in_proj_bias.chunk(3) if with_bias else [torch.zeros(4)] * 3
        expected = {
            f"attention.{letter}": x @ w.T + add
            for letter, x, w, add in zip("qkv", (query, key, value), W, b, strict=True)
        }
        expected["attention.out_proj"] = attention(query, key, value)[0]
    layers = trace_layers(model, X[:1]).linear
    assert [layer.name for layer in layers] == list(expected)
    made, read = outputs(model, X), means(model, X)
    # Inside attention the sequence always stands before the images.
    assert {layer.image_axis for layer in layers} == {1}
    for layer, w in zip(layers, [*W, attention.out_proj.weight], strict=True):
        assert torch.equal(unfolded_weight(model, layer), w)
        # Sums in float64 in another order.
        sequences = expected[layer.name].transpose(0, 1) if batch_first else expected[layer.name]
        torch.testing.assert_close(made[layer.name], sequences, rtol=0, atol=1e-12)
        mean = sequences.mean(dim=0)
        found = bias(model, layer)
        linear = mean if found is None else mean - found
        torch.testing.assert_close(read[layer.name], linear, rtol=0, atol=1e-12)
    assert trace_layers(model, X[:1]).not_analysed == {}


def test_the_extra_key_and_value_of_attention_are_no_layers():
    class Extra(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True, batch_first=True)

        def forward(self, X):
            return self.attention(X, X, X)[0].mean(dim=1)

    found = trace_layers(seeded(Extra), images(1, 3, 4))
    assert len(found.linear) == 4
    assert list(found.not_analysed) == ["attention.bias_k", "attention.bias_v"]
    assert "used in multi_head_attention_forward" in found.not_analysed["attention.bias_k"]


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_fast_path_of_transformer_encoders_hides_nothing(norm_first):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(
                4, 2, 8, batch_first=True, norm_first=norm_first, dropout=0.1
            )
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(4, 3)

        def forward(self, X):
            return self.head(self.encoder(X).mean(dim=1))

    model = seeded(Encoder).requires_grad_(False)
    X = images(2, 5, 4)
    assert torch.backends.mha.get_fastpath_enabled()
    first = [f"encoder.layers.0.{n}" for n in ("self_attn.q", "self_attn.out_proj", "linear1")]
    assert {*first, "encoder.layers.1.self_attn.v", "head"} <= set(names(model, X))
    assert len(names(model, X)) == 13
    read = means(model, X)
    with torch.inference_mode():
        x = model.encoder.layers[0].norm1(X) if norm_first else X
        W = model.encoder.layers[0].self_attn.in_proj_weight[:4]
        torch.testing.assert_close(read[first[0]], (x @ W.T).mean(dim=1), rtol=0, atol=1e-12)
        fast = model(X)
        pooled = model.encoder(X).mean(dim=1)
    torch.testing.assert_close(read["head"] + model.head.bias, fast, rtol=0, atol=1e-6)
    assert pooled.shape == (2, 4)


class Windows(nn.Module):
    """Cuts each image into windows below one another, image by image or window by window."""

    def __init__(self, *, image_by_image):
        super().__init__()
        self.inside = nn.Linear(4, 3)
        self.table = nn.Linear(2, 3)
        self.image_by_image = image_by_image

    def forward(self, X):
        windows = X.reshape(len(X), 2, 5, 4)
        if not self.image_by_image:
            windows = windows.transpose(0, 1)
        x = self.inside(windows.reshape(2 * len(X), 5, 4)) + self.table(X.new_ones(5, 2))
        x = x.reshape(*windows.shape[:2], 5, 3).mean(dim=2)
        return x.mean(dim=1 if self.image_by_image else 0)


def test_windows_of_an_image_are_positions():
    model = seeded(lambda: Windows(image_by_image=True))
    X = images(3, 1, 10, 4)
    found = trace_layers(model, X[:1])
    assert [(x.name, x.input_shape) for x in found.linear] == [("inside", (2, 5, 4))]
    # An input that is the same for all images gives no signals of images.
    assert found.not_analysed == {
        "table": "Linear whose input has no axis of images: it is the same for all"
    }
    expected = X.reshape(3, 10, 4).mean(dim=1) @ model.inside.weight.T
    torch.testing.assert_close(means(model, X)["inside"], expected.detach())


def test_rows_that_mix_images_are_refused():
    found = trace_layers(seeded(lambda: Windows(image_by_image=False)), images(1, 1, 10, 4))
    assert found.linear == ()
    assert found.not_analysed["inside"] == "Linear whose rows of one image do not lie together"


@pytest.mark.parametrize(
    "parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_parametrized_modules_are_analysed_with_the_weight_that_is_used(parametrize):
    model = seeded(
        lambda: nn.Sequential(
            nn.Flatten(), parametrize(nn.Linear(4, 3)), parametrize(nn.Linear(3, 2, bias=False))
        )
    )
    unused = nn.Module()
    unused.spare = parametrize(nn.Linear(2, 2, bias=False)).double()
    model[0].add_module("unused", unused)
    found = trace_layers(model, images(1, 1, 2, 2))
    assert [(x.name, x.kind) for x in found.linear] == [("1", "Linear"), ("2", "Linear")]
    assert torch.equal(unfolded_weight(model, found.linear[0]), model[1].weight)
    assert found.not_analysed == {
        "0.unused.spare": "Linear that the forward pass never calls "
        "(a part of 0.unused, which evaluation leaves out)"
    }


class Standardised(nn.Conv2d):
    """A convolution with a standardised weight, and an activation of its own behind it."""

    def forward(self, X):
        W = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        return torch.relu_(functional.conv2d(X, W, self.bias))


def test_a_computed_weight_is_analysed_as_it_is_computed():
    model = seeded(
        lambda: nn.Sequential(Standardised(2, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    X = images(2, 2, 4, 4) - 0.5
    found = trace_layers(model, X)
    assert [layer.name for layer in found.linear] == ["0"]
    W = (model[0].weight - model[0].weight.mean(dim=(1, 2, 3), keepdim=True)).detach()
    assert torch.equal(weight(model, found.linear[0]), W)
    assert found.not_analysed == {}
    expected = functional.conv2d(X, W).mean(dim=(2, 3))
    torch.testing.assert_close(means(model, X)["0"], expected)


def test_a_weight_that_depends_on_the_images_is_named():
    class Dynamic(nn.Module):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, X):
            x = X.flatten(1)
            return functional.linear(x, x.mean(dim=0)[None] * self.temperature)

    model, X = seeded(Dynamic), images(1, 1, 2, 2)
    with pytest.raises(UnsteadyNetworkError, match="same image in another batch: the network's"):
        trace_layers(model, X)
    found = trace_layers(model, X, alone=True)
    assert found.linear == ()
    assert found.not_analysed == {
        "Linear": "Linear whose weight or bias depends on the images",
        "temperature": "parameter of Dynamic used in mul, not as the weight of a convolution or "
        "fully connected layer",
    }


def test_two_modules_with_one_parameter_are_two_layers():
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)))
    model[3].weight = model[1].weight
    found = trace_layers(model, images(1, 1, 2, 2))
    assert [layer.name for layer in found.linear] == ["1", "3"]
    assert unfolded_weight(model, found.linear[1]) is not None
    assert torch.equal(unfolded_weight(model, found.linear[1]), model[1].weight)
    assert found.not_analysed == {}


def test_lazy_modules_get_their_weights_and_keep_their_gradients():
    model = nn.Sequential(nn.LazyConv2d(3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
    found = trace_layers(model, torch.rand(1, 2, 3, 3))
    assert [(x.name, x.kind, x.shape) for x in found.linear] == [
        ("0", "Conv2d", (3, 2, 2, 2)),
        ("3", "Linear", (2, 12)),
    ]
    X = torch.rand(1, 2, 3, 3, requires_grad=True)
    model(X).sum().backward()
    assert X.grad is not None


def test_parts_that_evaluation_leaves_out_are_named_with_their_head():
    class WithHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)
            self.aux = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
            self.token = nn.Parameter(torch.zeros(1))

        def forward(self, X):
            x = X.flatten(1)
            return (self.fc(x), self.aux(x)) if self.training else self.fc(x)

    assert trace_layers(seeded(WithHead), images(1, 1, 2, 2)).not_analysed == {
        "token": "parameter of WithHead that the forward pass never uses",
        "aux.0": "Linear that the forward pass never calls "
        "(a part of aux, which evaluation leaves out)",
        "aux.1": "Linear that the forward pass never calls "
        "(a part of aux, which evaluation leaves out)",
    }


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_torch_jit_has_compiled_is_named():
    compiled = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 1)).eval())
    model = nn.Sequential(compiled, nn.Flatten(), nn.Linear(8, 3)).eval()
    found = trace_layers(model, torch.rand(1, 1, 2, 2))
    assert [layer.name for layer in found.linear] == ["2"]
    assert found.not_analysed == {
        "0.0": "Conv2d is compiled by torch.jit, which hides what it computes"
    }
    with pytest.raises(ValueError, match="compiled"):
        trace_layers(compiled, torch.rand(1, 1, 2, 2))


def test_what_torch_has_compiled_just_in_time_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    model[1].compile(backend="eager")
    with pytest.raises(ValueError, match="give it uncompiled"):
        trace_layers(model, torch.rand(1, 1, 2, 2))


def test_scores_in_tuples_and_mappings():
    scores, features = torch.zeros(2, 3), torch.zeros(2, 4, 5)
    Named = namedtuple("Named", "aux logits")
    assert class_scores(scores, 2) is scores
    assert class_scores((features, scores), 2) is scores
    assert class_scores({"features": features, "out": scores}, 2) is scores
    assert class_scores({"aux": scores + 1, "logits": scores}, 2) is scores
    assert class_scores(Named(scores + 1, scores), 2) is scores
    with pytest.raises(ValueError, match=r"gives tuple of \(2, 3\), \(2, 3\) for 2 images"):
        class_scores((scores, scores), 2)
    with pytest.raises(ValueError, match="gives dict of int for 2 images"):
        class_scores({"out": 3}, 2)


def test_a_network_that_gives_a_mapping_is_extracted():
    class Mapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, X):
            return {"features": X, "out": self.fc(X.flatten(1))}

    model = seeded(Mapping)
    X = images(5, 1, 2, 2)
    layers = trace_layers(model, X[:1]).linear
    U = {x.name: decompose(unfolded_weight(model, x), x.groups).U for x in layers}
    found = extract(ForwardPass(model, layers, U), [X])
    assert found.predicted.tolist() == model(X)["out"].argmax(dim=1).tolist()


def test_nothing_is_left_after_an_interruption():
    model = seeded(Functional)
    layers = trace_layers(model, images(1, 2, 5, 5)).linear

    def interrupt(name, mean):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), means_read(model, layers, interrupt) as run:
        run(images(1, 2, 5, 5))
    assert torch.overrides._get_current_function_mode_stack() == []
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
