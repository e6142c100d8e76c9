"""Checkpoints in the wrappings in which people save them, and what is said of those that misfit."""

import argparse
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from ddp_tasks.networks.checkpoint_files import named_tensors, read_checkpoint
from ddp_tasks.networks.checkpoints import Weights, load_checkpoint
from schemas import RunError


class Network(nn.Module):
    """A convolution, its BatchNorm and a fully connected layer."""

    def __init__(self, seed=0, classes=3):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv = nn.Conv2d(1, 2, 3)
            self.norm = nn.BatchNorm2d(2)
            self.fc = nn.Linear(2, classes)


def state(seed=1, prefix="", **kwargs):
    return OrderedDict((prefix + k, v) for k, v in Network(seed, **kwargs).state_dict().items())


def loaded(tmp_path, content, entry=None, name="file.pt"):
    """The place taken; the network then has the weights of seed 1."""
    torch.save(content, tmp_path / name)
    network = Network()
    weights = load_checkpoint(network, tmp_path / name, entry)
    for key, value in Network(1).state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value, rtol=0, atol=0)
    return weights


def refusal(tmp_path, content, entry=None, network=None, name="file.pt"):
    torch.save(content, tmp_path / name)
    with pytest.raises(RunError) as refused:
        load_checkpoint(network or Network(), tmp_path / name, entry, "'m:Net'")
    text = str(refused.value)
    assert len(text.splitlines()) <= 10
    assert max(map(len, text.splitlines())) < 600
    assert text.replace("\n", "").isprintable()
    return text


PREFIXES = (
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "net.",
    "backbone.",
    "module._orig_mod.",
    "a.b.c.",
)


@settings(max_examples=40)
@given(
    prefix=st.sampled_from(PREFIXES),
    path=st.lists(
        st.sampled_from(["state_dict", "model_state_dict", "net", "model", "weights", 0, "x.y"]),
        max_size=3,
    ),
)
def test_the_only_mapping_that_fits_is_taken_wherever_it_lies(tmp_path_factory, prefix, path):
    content = state(prefix=prefix)
    for key in reversed(path):
        content = (
            [content, "epoch"] if key == 0 else {"epoch": 3, key: content, "args": {"lr": 0.1}}
        )
    weights = loaded(tmp_path_factory.mktemp("checkpoint"), content)
    assert weights == Weights(".".join(map(str, path)), prefix)


def test_optimizers_schedules_and_integer_keys_beside_the_weights_are_left_alone(tmp_path):
    network = Network(1)
    optimizer = torch.optim.Adam(network.parameters())
    network.fc(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    content = {"model": state(), "optimizer": optimizer.state_dict(), 7: "seven", "best": 0.9}
    assert loaded(tmp_path, content).entry == "model"
    # Beside the tensors themselves too.
    assert loaded(tmp_path, {**state(), "epoch": 3, 7: torch.ones(2)}).entry == ""


def test_what_lightning_keeps_beside_the_network_is_counted(tmp_path):
    content = {
        "state_dict": {**state(prefix="model."), "loss.weight": torch.ones(3)},
        "hyper_parameters": {"lr": 0.1},
        "loops": {"fit": {"progress": [1, 2]}},
    }
    weights = loaded(tmp_path, content, name="last.ckpt")
    assert weights == Weights("state_dict", "model.", 1)
    assert str(weights) == (
        "entry 'state_dict', 'model.' taken off each name, 1 other tensors left alone"
    )


def test_averaged_and_compiled_networks(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(Network(1))
    assert loaded(tmp_path, averaged.state_dict()).prefix == "module."
    assert loaded(tmp_path, torch.compile(Network(1)).state_dict()).prefix == "_orig_mod."
    assert loaded(tmp_path, nn.DataParallel(Network(1)).state_dict()).prefix == "module."


@pytest.mark.parametrize(
    ("content", "places"),
    [
        ({"state_dict": state(1), "state_dict_ema": state(2)}, ["state_dict", "state_dict_ema"]),
        ({"model": state(1), "ema": {"module": state(2)}}, ["model", "ema.module"]),
        ({**state(1, "encoder_q."), **state(2, "encoder_k.")}, ["encoder_q", "encoder_k"]),
        ({**state(1), **state(2, "ema.")}, ["", "ema"]),
        ({"model": {**state(1, "module."), **state(2, "module.ema.")}}, ["model.module"]),
        ([state(1), state(2)], ["0", "1"]),
    ],
)
def test_of_several_that_fit_none_is_preferred(tmp_path, content, places):
    text = refusal(tmp_path, content)
    assert "several sets of weights that fit" in text
    assert "model.entry" in text
    for place in places:
        assert repr(place) in text
    assert ("(EMA)" in text) == ("ema" in str(places) + text.lower().split("fit:")[1])
    assert loaded(tmp_path, content, places[0]).path == places[0]


def test_the_same_tensors_twice_are_no_question(tmp_path):
    once = state()
    assert loaded(tmp_path, {"a": once, "b": dict(once), "c": state()}).entry == "a"


def test_an_entry_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    text = refusal(tmp_path, {"state_dict": state(), "ema": state(2)}, "model")
    assert "holds no tensors at 'model'; it has some at state_dict, ema" in text


def test_an_entry_that_does_not_fit_is_not_replaced_by_one_that_does(tmp_path):
    text = refusal(tmp_path, {"old": state(classes=4), "new": state()}, "old")
    assert "nearest is entry 'old'" in text
    assert "fc.weight is (4, 2) and not (3, 2)" in text


def test_counts_of_batches_may_be_missing_and_nothing_else(tmp_path):
    content = state()
    del content["norm.num_batches_tracked"]
    assert loaded(tmp_path, dict(content)) == Weights("")
    del content["norm.running_mean"]
    text = refusal(tmp_path, content)
    assert "missing, 1 of 9: norm.running_mean" in text


def test_a_misfit_says_counts_near_names_and_shapes_in_few_lines(tmp_path):
    deep = nn.Sequential(*(nn.Linear(3, 3) for _ in range(500)))
    text = refusal(tmp_path, {"state_dict": state(prefix="module.")}, network=deep)
    assert "missing, 1000 of 1000: 0.weight, 0.bias, 1.weight, 1.bias, ..." in text
    assert "unexpected, 9 of 9: module.conv.weight, " in text
    content = state(classes=5)
    content["head.weight"] = content.pop("norm.weight")
    content["normal.bias"] = content.pop("norm.bias")
    text = refusal(tmp_path, {"net": content, "other": {"a": torch.ones(1)}})
    assert "model.weights " in text
    assert "do not fit 'm:Net'" in text
    assert "missing, 2 of 9: norm.weight, norm.bias" in text
    assert "unexpected, 2 of 9: head.weight, normal.bias" in text
    assert "normal.bias for norm.bias" in text
    assert "of other shapes, 2: fc.weight is (5, 2) and not (3, 2), fc.bias is (5,)" in text
    assert "other tensors in the file at: other" in text


def test_unexpected_tensors_among_those_of_the_network_are_refused(tmp_path):
    assert "unexpected, 1 of" in refusal(tmp_path, {**state(), "aux.weight": torch.ones(1)})
    text = refusal(tmp_path, {**state(prefix="module."), "module.aux.weight": torch.ones(1)})
    assert "unexpected, 1 of 10: aux.weight" in text


def test_names_with_codes_of_terminals_are_not_printed_as_they_are(tmp_path):
    refusal(tmp_path, {"\x1b[31mred": torch.ones(1), "a" * 5000: torch.ones(1)})


@pytest.mark.parametrize(
    "name", ["resnet20-12fca82f.th", "model_best.pth.tar", "weights", "best.model", "a b.PT"]
)
def test_any_suffix_is_a_file(tmp_path, name):
    assert loaded(tmp_path, {"state_dict": state()}, name=name).entry == "state_dict"


@pytest.mark.parametrize("prefix", ["", "model."])
def test_safetensors(tmp_path, prefix):
    save_file(dict(state(prefix=prefix)), tmp_path / "model.safetensors")
    network = Network()
    assert load_checkpoint(network, tmp_path / "model.safetensors") == Weights("", prefix)
    assert torch.equal(network.fc.weight, Network(1).fc.weight)


def test_networks_that_translate_old_names_still_do(tmp_path):
    class Renamed(Network):
        def _load_from_state_dict(self, state_dict, prefix, *rest):
            for name in ("weight", "bias"):
                if (old := f"{prefix}classifier.{name}") in state_dict:
                    state_dict[f"{prefix}fc.{name}"] = state_dict.pop(old)
            super()._load_from_state_dict(state_dict, prefix, *rest)

    content = {f"module.{k.replace('fc.', 'classifier.')}": v for k, v in state().items()}
    torch.save({"state_dict": content}, tmp_path / "old.pt")
    network = Renamed()
    assert load_checkpoint(network, tmp_path / "old.pt").prefix == "module."
    assert torch.equal(network.fc.weight, Network(1).fc.weight)


def test_lazy_layers_take_the_shapes_of_their_weights(tmp_path):
    network = nn.Sequential(nn.LazyLinear(3))
    torch.save(
        {"net": {"module.0.weight": torch.ones(3, 5), "module.0.bias": torch.ones(3)}},
        tmp_path / "lazy.pt",
    )
    load_checkpoint(network, tmp_path / "lazy.pt")
    assert network[0].weight.shape == (3, 5)


class Made:
    """An object that only code can make again."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (np.float64(91.7), "multiarray.scalar"),
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (Made(), "test_checkpoints.Made"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_the_object_that_is_in_the_way_is_named(tmp_path, thing, name, zipped):
    file = tmp_path / "with_object.pth"
    torch.save({"state_dict": state(), "best": thing}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RunError) as refused:
        read_checkpoint(file)
    text = str(refused.value)
    assert name in text
    assert "torch.save(state," in text
    assert "weights_only" not in text
    assert "\x1b" not in text
    assert len(text.splitlines()) <= 4


def test_torchscript_is_named(tmp_path):
    with pytest.warns(match="torch.jit"):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "script.pt")
    with pytest.raises(RunError, match="is a TorchScript archive"):
        read_checkpoint(tmp_path / "script.pt")


def _cut(tmp_path):
    torch.save(state(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    return whole[: len(whole) // 2]


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (bytes(range(256)) * 9, "damaged, or of a format"),
        (_cut, "damaged"),
        (b"\x80\x04N.", "damaged, or of a format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
    ],
)
def test_garbage_is_refused_in_one_sentence(tmp_path, content, reason, suffix):
    file = tmp_path / f"garbage{suffix}"
    file.write_bytes(content(tmp_path) if callable(content) else content)
    with pytest.raises(RunError, match=r"garbage\.\w+' is no checkpoint: ") as refused:
        read_checkpoint(file)
    assert re.search(reason, str(refused.value))
    assert "\n" not in str(refused.value)


def test_files_that_are_parts_or_lists_or_archives_say_so(tmp_path):
    whole = state()
    half = dict(list(whole.items())[:2])
    said = refusal(tmp_path, half, name="model-00001-of-00002.bin")
    assert "The file is part 1 of 2 of a checkpoint. Save the tensors of all parts" in said
    assert len(said.splitlines()) <= 10
    np.savez(tmp_path / "arrays.npz", **{name: tensor.numpy() for name, tensor in whole.items()})
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    for name, what in [
        ("arrays.npz", "is no checkpoint: it is an archive of other files"),
        ("model.safetensors.index.json", "it is the list of the parts that a checkpoint was cut"),
    ]:
        with pytest.raises(RunError, match=what):
            load_checkpoint(Network(), tmp_path / name)


def test_containers_that_hold_themselves_and_deep_ones_end(tmp_path):
    within = {"a": torch.ones(1)}
    within["self"] = within
    deep = {"b": torch.ones(1)}
    for _ in range(50):
        deep = {"in": deep}
    torch.save({"within": within, "deep": deep}, tmp_path / "odd.pt")
    assert list(named_tensors(tmp_path / "odd.pt")) == ["within"]


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(RunError, match="is a folder; name the checkpoint in it"):
        read_checkpoint(tmp_path)
