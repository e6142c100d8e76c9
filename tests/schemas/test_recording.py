"""What a store records of parameters: no places on a machine, and no secrets."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import tiny_run

from schemas.parameters import RunParameters
from schemas.recording import PLACE, SECRET, not_recorded, recorded, stored_identity, without_places
from schemas.run_files import check
from schemas.zoo import ZooParameters

PLACES = [
    "/data/images",
    "/home/me/my images/a.png",
    "C:\\Users\\me\\images",
    "d:/images",
    "\\\\server\\share",
    "file:///srv/images",
    "~me/images",
    "//server/share",
    "root=/data/images",
]
SECRETS = [
    "https://me:hunter22@example.org/images",
    "postgresql://me:hunter22@db/images",
    "https://example.org/i.tar?sig=hunter22&se=2030",
    "https://example.org/i.tar?X-Amz-Signature=hunter22",
    "hf_hunter22hunter22",
    "ghp_hunter22hunter22",
    "AKIAHUNTER22HUNTER22",
    "Bearer hunter22.hunter22",
    "eyJhbGciOiJIUzI1NiJ9.hunter22.sig",
    "AccountName=me;AccountKey=hunter22==",
    "-----BEGIN PRIVATE KEY-----\nhunter22",
]
SECRET_KEYS = [
    "password",
    "db_password",
    "passwd",
    "token",
    "hf_token",
    "HF_TOKEN",
    "accessToken",
    "api_key",
    "apiKey",
    "aws_secret_access_key",
    "secret",
    "credentials",
    "auth",
    "private-key",
    "connection_string",
]
KEPT = {
    "root": "~/.cache/images",
    "train": False,
    "url": "https://example.org/images",
    "bucket": "s3://bucket/images",
    "split": "n/a",
    "max_tokens": 64,
    "use_auth_token": True,
    "tokenizer": "basic",
    "keys": ["image", "label"],
    "author": "me",
    "depth": 20,
    "nothing": None,
}


def run_with(**kwargs):
    run = tiny_run()
    images = run.images.model_copy(update={"kwargs": kwargs})
    model = run.model.model_copy(update={"kwargs": kwargs})
    return run.model_copy(update={"images": images, "model": model})


@pytest.mark.parametrize("text", PLACES)
def test_an_absolute_path_is_not_recorded_wherever_it_stands(text):
    kwargs = recorded(run_with(root=text, deep=[{"at": [text]}], **{text: 1})).images.kwargs
    assert kwargs == {"root": PLACE, "deep": [{"at": [PLACE]}], text: 1} or text not in kwargs
    assert kwargs["root"] == kwargs["deep"][0]["at"][0] == PLACE


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_not_recorded_whatever_its_key(text):
    kept = recorded(run_with(url=text, deep=[{"at": text}])).model_dump_json()
    assert "hunter22" not in kept.lower()
    assert SECRET in kept


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", ["hunter22", ["hunter22"], {"a": "hunter22"}])
def test_what_a_secrets_key_holds_is_not_recorded_whatever_it_looks_like(key, value):
    kept = recorded(run_with(**{key: value}, deep=[{key: value}]))
    assert kept.images.kwargs == kept.model.kwargs == {key: SECRET, "deep": [{key: SECRET}]}


def test_what_is_neither_is_recorded_as_it_is():
    assert recorded(run_with(**KEPT)).images.kwargs == KEPT


def test_of_files_the_names_are_recorded():
    run = tiny_run(
        model={"factory": "/home/me/net.py:blocks.Net", "weights": "/home/me/w.pt"},
        cluster="/home/me/cluster.yaml",
    )
    kept = recorded(run)
    assert kept.model.factory == "net.py:blocks.Net"
    assert kept.model.weights == "w.pt"
    assert kept.cluster == "cluster.yaml"
    assert "/home" not in kept.images.factory
    assert RunParameters.model_validate_json(kept.model_dump_json()) == kept


def test_weights_whose_file_is_named_like_torchvisions_stay_a_file(tmp_path):
    (tmp_path / "DEFAULT").touch()
    factory = "torchvision.models:resnet18"
    weights = str(tmp_path / "DEFAULT")
    kept = recorded(tiny_run(model={"factory": factory, "weights": weights}))
    assert kept.model.weights_file is not None
    named = {"factory": factory, "weights": "IMAGENET1K_V1"}
    assert recorded(tiny_run(model=named)).model.weights == "IMAGENET1K_V1"


def test_a_training_and_a_list_of_models_are_recorded_so_too():
    kwargs = {"root": "/data", "token": "hunter22"}
    run = tiny_run(model={"factory": "net.py:Net", "training": {"kwargs": kwargs}})
    kept = recorded(run).model.training
    assert kept is not None
    assert kept.kwargs == {"root": PLACE, "token": SECRET}
    model = {"name": "a", "family": "f", "accuracy": 1.0, "factory": "/home/me/net.py:Net"}
    content = {
        "input_size": [1, 8, 8],
        "folder": "/home/me",
        "models": [{**model, "weights": "/home/me/w.pt", "kwargs": {"root": "/data"}}],
    }
    zoo = recorded(check(ZooParameters, content, "zoo"))
    assert "/home" not in zoo.model_dump_json()
    assert "/data" not in zoo.model_dump_json()


def test_a_run_is_the_same_wherever_its_files_lie():
    here = tiny_run(model={"factory": "/home/me/net.py:Net", "kwargs": {"root": "/data/a"}})
    there = tiny_run(model={"factory": "/srv/net.py:Net", "kwargs": {"root": "/data/b"}})
    assert stored_identity(here) == stored_identity(there)
    other = tiny_run(model={"factory": "/srv/net.py:Net", "kwargs": {"root": "/data/b", "d": 2}})
    assert stored_identity(here) != stored_identity(other)


def test_a_way_of_resizing_that_is_the_default_is_not_recorded():
    # Else no run could continue a store that was made when there was no choice.
    images = {"factory": "a:B", "transform": {"resize": 8}}
    plain = tiny_run(images)
    said = tiny_run({**images, "transform": {"resize": 8, "interpolation": "bilinear"}})
    other = tiny_run({**images, "transform": {"resize": 8, "interpolation": "bicubic"}})
    transform = stored_identity(plain)["images"]["transform"]
    assert transform == {"resize": 8, "crop": None, "mean": None, "std": None}
    assert stored_identity(said) == stored_identity(plain) != stored_identity(other)
    assert "interpolation" not in plain.model_dump_json()
    assert RunParameters.model_validate_json(other.model_dump_json()) == other


def test_what_is_not_recorded_is_listed_by_its_keys():
    kwargs = recorded(run_with(root="/data", deep=[{"token": "x"}], depth=2)).images.kwargs
    assert dict(not_recorded(kwargs)) == {"root": PLACE, "deep.0.token": SECRET}


NAMES = st.text("abcxyz019_-.", min_size=1, max_size=8).filter(lambda name: name.strip("."))


@given(st.lists(NAMES, min_size=1, max_size=5), st.sampled_from(["'{}'", "{}: bad", "at {}", "{}"]))
def test_of_an_absolute_path_in_a_message_the_name_stays(names, around):
    path = f"/{'/'.join(names)}"
    told = without_places(around.format(path))
    assert "/" not in told
    assert names[-1] in told


def test_a_message_without_a_path_stays():
    for text in ("", "ValueError: n/a", "truncated: 3 of 4 bytes", "see https://example.org/a/b"):
        assert without_places(text) == text
    assert json.loads(json.dumps(without_places(str(Path("a") / "b.png")))) == "a/b.png"
