"""The models of a list, looked at in a process of their own before anything is started."""

import io

import pytest
import s3_server
import torch
from runs import TinyNetwork
from zoos import model, tiny_zoo

from ddp_tasks.networks import CifarResNet
from ddp_tasks.networks.models import missing_weights, weights_state
from flows.zoo_files import check_contents, check_zoo_files
from schemas.object_paths import path_of
from schemas.parameters import ModelParameters, RunError

#: A factory that ends the process, and one that talks and asks.
CODE = """
import os
import sys
from torch import nn
def ending():
    os._exit(3)
def talking():
    print("null", flush=True)
    sys.stdin.readline()
    return nn.Linear(2, 2)
"""


def resnet(name, weights, depth):
    return {
        **model(name, 90.0, weights=str(weights), kwargs={"depth": depth}),
        "factory": "ddp_tasks.networks:CifarResNet",
    }


def test_each_model_that_fails_is_named_with_its_reason(tmp_path):
    torch.save(TinyNetwork().state_dict(), tmp_path / "tiny.pt")
    torch.save(CifarResNet(8).state_dict(), tmp_path / "resnet.pt")
    (tmp_path / "code.py").write_text(CODE)
    looked = []
    zoo = tiny_zoo(
        [
            model("good", 80.0, weights=str(tmp_path / "tiny.pt")),
            {**model("ending", 81.0), "factory": f"{tmp_path}/code.py:ending"},
            {**model("talking", 82.0), "factory": f"{tmp_path}/code.py:talking"},
            model("gone", 83.0, weights=str(tmp_path / "gone.pt")),
            resnet("deep", tmp_path / "resnet.pt", 20),
        ]
    )
    first, *reasons = check_contents(zoo, looked.append).splitlines()
    assert first == "2 of 5 models cannot be opened, and fail:"
    assert reasons[0] == "  ending: the process that opened it ended with status 3"
    assert reasons[1].startswith(f"  deep: model.weights '{tmp_path}/resnet.pt' do not fit ")
    assert reasons[1].endswith("; it fits depth=8")
    assert looked == [1, 2, 3, 4]


def test_a_list_all_of_whose_models_fail_is_refused_in_few_lines(tmp_path):
    torch.save(TinyNetwork().state_dict(), tmp_path / "tiny.pt")
    zoo = tiny_zoo([resnet(f"deep {i}", tmp_path / "tiny.pt", 8) for i in range(9)])
    with pytest.raises(RunError) as refused:
        check_contents(zoo)
    lines = str(refused.value).splitlines()
    assert lines[0] == "no model of tiny can be opened:"
    assert [line.partition(":")[0].strip() for line in lines[1:-1]] == [
        "deep 0",
        "deep 1",
        "deep 2",
    ]
    assert lines[-1] == "  and 6 more"


def test_models_at_an_address_are_looked_at_like_files(tmp_path, monkeypatch):
    with s3_server.served(tmp_path) as url:
        for name, value in {**s3_server.ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        folder, content = path_of(f"{s3_server.BUCKET}/weights"), io.BytesIO()
        torch.save(TinyNetwork().state_dict(), content)
        (folder / "tiny.pt").write_bytes(content.getvalue())

        def listed(*places):
            return tiny_zoo([model(place, 80.0, weights=place) for place in places])

        there, gone = f"{folder}/tiny.pt", f"{folder}/gone.pt"
        assert check_zoo_files(listed(there), tmp_path / "out") == ""
        assert check_contents(listed(there)) == ""
        assert gone in check_zoo_files(listed(there, gone), tmp_path / "out")
        with pytest.raises(RunError, match=r"s3://none/x\.pt: there is no such bucket"):
            check_zoo_files(listed(there, "s3://none/x.pt"), tmp_path / "out")
        for use in (weights_state, missing_weights):
            with pytest.raises(RunError, match="there is no such bucket"):
                use(ModelParameters(factory="runs:TinyNetwork", weights="s3://none/x.pt"))
        assert "does not exist" in missing_weights(
            ModelParameters(factory="runs:TinyNetwork", weights=gone)
        )
