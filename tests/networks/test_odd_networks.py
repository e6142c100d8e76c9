"""Networks as people write them pass, or are refused with the one true reason."""

import numpy as np
import odd_networks
import pytest
import torch
from shown_networks import names, pictures, ready, shown
from torch import nn
from torch.nn import functional

from ddp_tasks.networks.class_scores import class_scores
from ddp_tasks.networks.layers import without_zeros
from ddp_tasks.networks.models import model_digest
from ddp_tasks.networks.tracing import UnsteadyNetworkError, trace_layers

PLAIN = ["conv1", "conv2", "fc"]


def assert_like_plain(found, images, plain=None):
    """The signals of the network without its oddity, of contiguous float64 batches."""
    model = ready(plain or odd_networks.Plain()).double()
    expected = shown(model, images.double())[1]
    # Float32 sums of at most 80 terms about 1.
    np.testing.assert_allclose(found.signal, expected.signal, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(found.predicted, expected.predicted)


@pytest.mark.parametrize(
    ("network", "last"),
    [
        (odd_networks.Plain, True),
        (odd_networks.Viewing, False),
        (odd_networks.MemoryOrder, False),
        (odd_networks.ViewedWeight, False),
    ],
)
def test_channels_last_only_where_the_network_takes_them_and_answers_alike(network, last):
    images = pictures()
    found, signals = shown(ready(network()), images, batch=2)
    assert found.convention.channels_last is last
    assert not found.convention.copies
    assert names(found) == PLAIN
    assert_like_plain(signals, images)


def test_a_network_that_changes_its_input_gets_copies_and_others_get_none():
    images = pictures()
    before = images.clone()
    found, signals = shown(ready(odd_networks.Normalising()), images)
    assert found.convention.copies
    assert torch.equal(images, before)
    assert names(found) == PLAIN
    assert_like_plain(signals, (before - 0.4) / 0.25)
    again = shown(ready(odd_networks.Normalising()), images, batch=2)[1]
    np.testing.assert_allclose(again.signal, signals.signal, rtol=0, atol=1e-5)
    # Any other network gets a contiguous batch itself.
    plain = trace_layers(ready(odd_networks.Viewing()), images)
    assert plain.convention.inputs(images).data_ptr() == images.data_ptr()


@pytest.mark.parametrize("network", [odd_networks.Squeezing, odd_networks.Paired])
@pytest.mark.parametrize("batch", [2, 4, 1])
def test_a_last_batch_of_one_image_is_one_row(network, batch):
    images = pictures()
    found, signals = shown(ready(network()), images, batch)
    assert names(found) == PLAIN
    assert signals.predicted.shape == (5,)
    assert_like_plain(signals, images)


@pytest.mark.parametrize("batch", [2, 3, 1])
def test_maps_that_are_squeezed_inside(batch):
    images = pictures(4)
    model = ready(odd_networks.SqueezingInside())
    found, signals = shown(model, images, batch)
    assert names(found) == ["conv1", "conv2", "head"]
    with torch.no_grad():
        assert signals.predicted.tolist() == model(images).argmax(dim=1).tolist()


@pytest.mark.parametrize(
    ("network", "where"),
    [
        (
            odd_networks.BatchStatistics,
            r"module 'norm' \(BatchNorm2d\), which takes mean and variance from the batch since it "
            "keeps no running statistics",
        ),
        (
            odd_networks.Centring,
            r"the network's own forward \(Centring\), before module 'fc' \(Linear\), after module "
            r"'conv2' \(Conv2d\)",
        ),
    ],
)
def test_another_answer_in_another_batch_is_refused_with_the_module(network, where):
    images = pictures()
    with pytest.raises(UnsteadyNetworkError, match=f"in another batch: {where}; shards.batch_si"):
        trace_layers(ready(network()), images)
    # One image at a time has one answer.
    found, signals = shown(ready(network()), images, batch=1)
    assert np.isfinite(signals.signal[:, 0, :4]).all()
    if network is odd_networks.Centring:
        # An image less its own mean is nothing.
        assert names(found) == PLAIN[:2]
        assert found.not_analysed["fc"].endswith("it is the same for all")
    else:
        assert names(found) == PLAIN


def test_a_batch_norm_in_training_mode_is_named():
    model = ready(nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten()))
    model[1].train()
    with pytest.raises(UnsteadyNetworkError, match=r"'1'.*left in training mode"):
        trace_layers(model, pictures())


def test_statistics_of_single_images_are_fine():
    assert names(trace_layers(ready(odd_networks.InstanceStatistics()), pictures())) == PLAIN


@pytest.mark.parametrize(
    ("network", "where"),
    [
        (
            odd_networks.LeftInTraining,
            r"module 'drop' \(Dropout\), which is left in training mode",
        ),
        (odd_networks.Noisy, r"the network's own forward \(Noisy\), before module 'fc'"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_another_answer_to_the_same_question_is_refused_with_the_module(network, where, alone):
    with pytest.raises(UnsteadyNetworkError, match=f"asked twice for the same images: {where}"):
        trace_layers(ready(network()), pictures(), alone=alone)


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.float16], ids=["float64", "bfloat16", "half"]
)
def test_inputs_have_the_type_of_the_weights(dtype):
    images = pictures()
    model = ready(odd_networks.Plain()).to(dtype)
    found, signals = shown(model, images)
    assert found.convention.dtype == dtype
    assert signals.signal.dtype == np.float32
    expected = shown(ready(odd_networks.Plain()).to(dtype).double(), images)[1].signal
    # Means of outputs of size 1, each rounded to 53, 8 or 11 bits, in three layers.
    atol = {torch.float64: 1e-6, torch.bfloat16: 0.03, torch.float16: 0.004}[dtype]
    np.testing.assert_allclose(signals.signal, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("network", "shape", "layers"),
    [
        (odd_networks.Volumes, (1, 5, 6, 7), ["conv1", "conv2", "fc"]),
        (odd_networks.Series, (3, 20), ["conv", "fc"]),
        (odd_networks.Vectors, (7,), ["0", "2"]),
    ],
)
def test_inputs_of_any_number_of_axes(network, shape, layers):
    images = pictures(5, shape)
    model = ready(network())
    found, signals = shown(model, images, batch=2)
    assert names(found) == layers
    assert found.linear[0].input_shape == shape
    expected = shown(ready(network()).double(), images)[1]
    np.testing.assert_allclose(signals.signal, expected.signal, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "pruned"])
def test_what_a_weight_is_computed_from_is_not_named_as_left_out(how):
    found = trace_layers(ready(odd_networks.with_computed_weight(how)), pictures())
    assert names(found) == PLAIN
    assert found.not_analysed == {}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("layer", PLAIN)
def test_a_weight_of_zeros_hides_no_layer_after_it(layer, alone):
    model = ready(odd_networks.Zeros(layer))
    before = model_digest(model)
    found = trace_layers(model, pictures(), alone=alone)
    assert names(found) == PLAIN
    assert model_digest(model) == before
    left = without_zeros(model, found)
    assert names(left) == [name for name in PLAIN if name != layer]
    kind = dict(model.named_modules())[layer].__class__.__name__
    assert left.not_analysed == {layer: f"{kind} whose weight is zero: it has no singular vectors"}


def test_images_without_an_axis_of_images_pass_alone():
    images = pictures()
    found, signals = shown(ready(odd_networks.Looping()), images, batch=1)
    assert names(found) == PLAIN
    assert_like_plain(signals, images)


def test_a_program_of_torch_export_is_analysed():
    images = pictures()
    found, signals = shown(odd_networks.exported().requires_grad_(False), images, batch=2)
    assert names(found) == PLAIN
    assert [layer.kind for layer in found.linear] == ["Conv2d", "Conv2d", "Linear"]
    assert found.linear[0].padding == (1, 1)
    assert_like_plain(signals, images)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantised_parts_are_named_and_the_rest_analysed():
    found, _ = shown(ready(odd_networks.quantised()), pictures())
    assert names(found) == ["conv1", "conv2"]
    assert found.not_analysed == {"fc": "Linear is quantised, and holds no weight as numbers"}
    one, other = model_digest(odd_networks.quantised()), model_digest(odd_networks.quantised())
    assert one == other
    changed = odd_networks.Plain()
    changed.fc.weight.data[0, 0] += 0.5
    changed = torch.ao.quantization.quantize_dynamic(changed.eval(), {nn.Linear})
    assert model_digest(changed) != one


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_parts_are_named_and_the_rest_analysed():
    found, _ = shown(ready(odd_networks.partly_scripted()), pictures())
    assert names(found) == ["conv1", "fc"]
    assert "compiled by torch.jit" in found.not_analysed["conv2"]


def test_an_output_is_picked_by_name_and_place():
    images = pictures()
    model = ready(odd_networks.SeveralOutputs())
    with pytest.raises(ValueError, match=r"heads\.kind \(2, 3\), heads\.side \(2, 2\)"):
        trace_layers(model, images)
    assert trace_layers(model, images, output="heads.kind").outputs == 3
    _, signals = shown(model, images, output="heads.side")
    with torch.no_grad():
        side = model(images)["heads"]["side"]
    assert signals.predicted.tolist() == side.argmax(dim=1).tolist()
    assert trace_layers(model, images, output="0.1").outputs == 2
    with pytest.raises(ValueError, match=r"model.output 'heads.top' names no part.*heads\.kind"):
        trace_layers(model, images, output="heads.top")
    with pytest.raises(ValueError, match=r"model.output 'count' is int for 2 images"):
        trace_layers(model, images, output="count")


def test_a_generator_is_read_while_its_layers_are_heard():
    images = pictures()
    found, signals = shown(ready(odd_networks.Yielding()), images)
    assert names(found) == PLAIN
    assert_like_plain(signals, images)


@pytest.mark.parametrize("end", ["column", "flat", "squeezed", "probability"])
@pytest.mark.parametrize("batch", [64, 2, 1])
def test_one_logit_tells_two_classes_apart(end, batch):
    images = pictures()
    model = ready(odd_networks.OneLogit(end))
    # Logits about 0, within [0, 1] some of them.
    with torch.no_grad():
        z = functional.linear(model.maps(images).flatten(1), model.fc.weight, model.fc.bias)[:, 0]
        model.fc.bias -= z.median() - 0.01
        z -= z.median() - 0.01
    found, signals = shown(model, images, batch)
    assert found.outputs == 2
    assert found.convention.sigmoid is (end == "probability")
    second = torch.sigmoid(z).numpy()
    assert signals.predicted.tolist() == (second > 0.5).astype(int).tolist()
    np.testing.assert_allclose(signals.confidence, np.maximum(second, 1 - second), atol=1e-6)


def test_forms_of_scores():
    scores = torch.rand(4, 3)
    assert class_scores(scores[:, :, None, None], 4).tolist() == scores.tolist()
    assert class_scores(scores[0], 1).tolist() == [scores[0].tolist()]
    # A row of scores goes before one number for each image.
    assert class_scores((scores, scores[:, 0]), 4) is scores
    # Probability 1 has finite log-odds.
    sure = class_scores(torch.tensor([0.0, 1.0]), 2, probability=True)
    assert torch.isfinite(sure).all()
    assert torch.softmax(sure, dim=1).argmax(dim=1).tolist() == [0, 1]


def test_what_a_network_raises_is_raised():
    with pytest.raises(LookupError, match="no such species"):
        trace_layers(ready(odd_networks.Failing()), pictures())


def test_a_network_of_one_image_at_a_time_says_how_it_runs():
    model = ready(nn.Sequential(nn.Flatten(0), nn.Linear(72, 3)))
    with pytest.raises(ValueError, match=r"one image at a time .*shards.batch_size: 1"):
        trace_layers(model, pictures())
    assert shown(model, pictures(), batch=1)[1].predicted.shape == (5,)
