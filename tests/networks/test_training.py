import odd_networks
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from ddp_tasks.images.digits import HELD_OUT, Digits
from ddp_tasks.images.image_sets import open_images
from ddp_tasks.networks.models import model_digest
from ddp_tasks.networks.tracing import trace_layers
from ddp_tasks.networks.training import images_trained_on, train
from schemas.parameters import ImageParameters, TrainingParameters


def test_the_two_halves_of_digits_are_disjoint_and_fifty_a_class():
    held_out, others = Digits(analysed=True), Digits(analysed=False)
    assert torch.bincount(torch.tensor(held_out.targets)).tolist() == [HELD_OUT] * 10
    assert HELD_OUT == 50
    assert len(held_out) + len(others) == 1797

    # No two of the 1,797 pictures are the same, so pixels name them.
    pictures, targets = load_digits(return_X_y=True)
    assert len({p.tobytes() for p in pictures}) == len(pictures)
    halves = [{image.numpy().tobytes() for image in half.images} for half in (held_out, others)]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) == 1797
    assert sorted(held_out.targets + others.targets) == sorted(targets.tolist())


def test_digits_are_paper_to_ink_at_the_size_of_mnist():
    digits = Digits()
    image, target = digits[3]
    assert image.shape == (1, 28, 28)
    assert image.dtype == torch.float32
    assert target == digits.targets[3]
    assert digits.images.min() == 0
    assert digits.images.max() == 1
    # The picture of 8x8 pixels is still there: averaged back, it is close to what was enlarged.
    # Bicubic overshoots and clamping cost a few hundredths on average.
    pictures, targets = load_digits(return_X_y=True)
    first_zero = torch.from_numpy(pictures[targets == 0][0] / 16).reshape(8, 8).float()
    back = nn.functional.interpolate(
        digits.images[digits.targets.index(0)][None], size=(8, 8), mode="area"
    )
    assert (back[0, 0] - first_zero).abs().mean() < 0.1


def _separable():
    return open_images(ImageParameters(factory="image_sets:Separable"))


def _network():
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def _parameters(**changes):
    return TrainingParameters(
        **{"epochs": 2, "batch_size": 8, "learning_rate": 0.05, "seed": 0, **changes}
    )


def test_the_seed_fixes_the_network():
    digests = [model_digest(train(_network, _separable(), _parameters())) for _ in range(2)]
    assert digests[0] == digests[1]
    other = train(_network, _separable(), _parameters(seed=1))
    assert model_digest(other) != digests[0]


def test_training_leaves_the_random_numbers_of_others_alone():
    before = torch.get_rng_state()
    train(_network, _separable(), _parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_training_learns_to_tell_two_classes_apart():
    # Noise of 0.1 about -1 and 1: any straight line between tells them apart.
    images = _separable()
    model = train(_network, images, _parameters(epochs=20))
    predicted = model(images.batch(0, len(images))).argmax(dim=1)
    assert predicted.tolist() == images.target.tolist()
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_progress_tells_of_every_image_trained_on():
    # 20 images in batches of 8: two full batches an epoch, the last 4 images are left.
    told = []
    train(_network, _separable(), _parameters(epochs=3), lambda images, _: told.append(images))
    assert told == [8] * 6
    assert images_trained_on(20, _parameters(epochs=3)) == 48


@given(st.integers(1, 500), st.integers(1, 100), st.integers(1, 5))
def test_every_epoch_trains_on_whole_batches(images, batch_size, epochs):
    trained = images_trained_on(images, _parameters(epochs=epochs, batch_size=batch_size))
    size = min(batch_size, images)
    assert trained % (size * epochs) == 0
    assert 0 <= images * epochs - trained < size * epochs


def test_a_batch_larger_than_the_set_is_the_set():
    told = []
    train(_network, _separable(), _parameters(batch_size=64), lambda images, _: told.append(images))
    assert told == [20, 20]


def test_a_training_set_is_all_of_the_runs_set_with_other_arguments():
    analysed = ImageParameters(
        factory="ddp_tasks.images:Digits", kwargs={"analysed": True}, per_class=5
    )
    trained_on = analysed.training_set(TrainingParameters(kwargs={"analysed": False}))
    assert len(open_images(analysed)) == 50
    assert len(open_images(trained_on)) == 1797 - 500


def _channels(classes=3):
    return open_images(ImageParameters(factory="image_sets:Channels", kwargs={"classes": classes}))


def _logits_loss(output, targets):
    return functional.cross_entropy(output, targets)


def _slowly(model, images, loss, parameters, *, contiguous=True):
    """Training written out, with a loss of what the network gives for float32 images."""
    inputs = images.batch(0, len(images))
    inputs = inputs.contiguous() if contiguous else inputs
    generator = torch.Generator().manual_seed(parameters.seed)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=parameters.learning_rate)
    steps = len(images) // parameters.batch_size
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, parameters.epochs * steps)
    for _ in range(parameters.epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(parameters.batch_size):
            if len(chosen) == parameters.batch_size:
                batch, targets = inputs[chosen], torch.from_numpy(images.target)[chosen]
                optimizer.zero_grad()
                loss(model(batch), targets).backward()
                optimizer.step()
                schedule.step()
    return model.eval()


def _with_auxiliary(output, targets):
    own, _, side = output
    return _logits_loss(own, targets) + 0.3 * _logits_loss(side, targets)


def _named_auxiliary(output, targets):
    return _with_auxiliary((output["logits"], None, output["side"]), targets)


def _binary(output, targets):
    return functional.binary_cross_entropy_with_logits(output.flatten(), targets.float())


def _of_probability(output, targets):
    return functional.binary_cross_entropy(output, targets.float())


@pytest.mark.parametrize(
    ("build", "loss"),
    [
        (odd_networks.Plain, _logits_loss),
        (odd_networks.Viewing, _logits_loss),
        (odd_networks.FullyConvolutional, lambda out, y: _logits_loss(out[:, :, 0, 0], y)),
        (odd_networks.Yielding, lambda out, y: _logits_loss(*out, y)),
        (lambda: odd_networks.Ending("log_softmax"), functional.nll_loss),
        (lambda: odd_networks.Ending("softmax"), lambda p, y: functional.nll_loss(p.log(), y)),
        (odd_networks.Auxiliary, _with_auxiliary),
        (lambda: odd_networks.Auxiliary(named=True), _named_auxiliary),
        (lambda: odd_networks.OneLogit("column"), _binary),
        (lambda: odd_networks.OneLogit("flat"), _binary),
        (lambda: odd_networks.OneLogit("squeezed"), _binary),
        (lambda: odd_networks.OneLogit("probability"), _of_probability),
    ],
)
def test_every_form_of_output_is_trained_with_the_loss_that_belongs_to_it(build, loss):
    images = _channels(2 if isinstance(build(), odd_networks.OneLogit) else 3)
    parameters = _parameters(learning_rate=0.01, batch_size=10)
    expected = _slowly(build(), images, loss, parameters).state_dict()
    found = train(lambda: build().eval(), images, parameters).state_dict()
    for name, tensor in expected.items():
        # Steps of 0.01; float32 losses written in two ways.
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-4)


def test_a_plain_network_is_trained_in_the_memory_layout_of_its_images():
    # To the bit: sums in another order train another network of the same seed.
    images, parameters = _channels(), _parameters(learning_rate=0.01, batch_size=10)
    expected = _slowly(odd_networks.Plain(), images, _logits_loss, parameters, contiguous=False)
    found = train(lambda: odd_networks.Plain().eval(), images, parameters)
    assert model_digest(found) == model_digest(expected)


@pytest.mark.parametrize(
    ("build", "output"),
    [
        (lambda: odd_networks.Typed("float64"), None),
        (lambda: odd_networks.Typed("bfloat16"), None),
        (odd_networks.SeveralOutputs, "heads.kind"),
        (odd_networks.Lazy, None),
        (odd_networks.Normalising, None),
        (odd_networks.Squeezing, None),
        (lambda: odd_networks.OneLogit("probability"), None),
    ],
)
def test_networks_as_people_write_them_learn(build, output):
    images = _channels(2 if isinstance(build(), odd_networks.OneLogit) else 3)
    parameters = _parameters(epochs=20, batch_size=12, learning_rate=0.02)
    model = train(build, images, parameters, output=output)
    batch = images.batch(0, len(images))
    convention = trace_layers(model, batch, output=output).convention
    with torch.no_grad():
        scores = convention.scores(model(convention.inputs(batch.clone())), len(batch))
    assert scores.argmax(dim=1).tolist() == images.target.tolist()
    assert model_digest(train(build, images, parameters, output=output)) == model_digest(model)
