"""What a store records of a run's parameters: no absolute paths and no secrets.

Stores and reports are passed on to others. The paths of code, weights and images on one machine
help nobody elsewhere, and credentials must not be passed on. Digests of code, weights and images
are recorded instead, so that the same ones are recognised wherever they lie.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from schemas.parameters import RunParameters, weights_file
from schemas.zoo import ZooParameters

#: Texts in place of values that are not recorded.
PLACE = "(not recorded: an absolute path)"
SECRET = "(not recorded: a secret)"

#: Words of keys whose values are secrets: api_key, HF_TOKEN, aws_secret_access_key.
_SECRET_KEY = re.compile(
    r"(?<![a-z])(pass(word|wd|phrase|code)?|pwd|secrets?|tokens?|credentials?|auth(orization)?|"
    r"bearer|cookie|session_?id|signature|sig|(api|access|private|account|storage|encryption|"
    r"secret|subscription|sas|ssh)[_-]?keys?|key[_-]?id|connection[_-]?string)(?![a-z])"
)
#: Where the words of a key in camel case meet: apiKey, accessToken.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

#: Texts that are secrets under any key: addresses that hold a password or a signature, and tokens
#: in the forms of well-known services.
_SECRET_TEXT = re.compile(
    r"\w+://[^/\s@]*:[^/\s@]+@|[?&;]([\w-]*(token|key|sig|signature|secret|password|pwd|credential))="
    r"|\b(gh[pousr]_|github_pat_|glpat-|hf_|sk-|xox[abprs]-|AKIA|ASIA|AIza|ya29\.)[\w-]{8,}"
    r"|\b(Bearer|Basic)\s+[\w.~+/=-]{8,}|\beyJ[\w-]+\.[\w-]+\.|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(AccountKey|SharedAccessKey|password|passwd|pwd|secret|token)\s*=\s*\S",
    re.IGNORECASE,
)

#: An absolute path, alone or within a text; the //host of an address is not one.
_ABSOLUTE = re.compile(
    r"(?<![\w.~/:)\]])/(?!/)[^\s'\"<>|:;,/]+(?:/[^\s'\"<>|:;,/]+)*/?"  # /data/images
    r"|\A//[^/\s]+|\bfile:/+[^\s'\"<>|;,]+"
    r"|(?<![\w/])[A-Za-z]:[\\/][^\s'\"<>|;,]*"  # C:\images
    r"|(?<!\S)\\\\[^\s'\"<>|;,]+"  # \\server\share
    r"|(?<!\S)~[\w.-]+/[^\s'\"<>|;,]*"  # ~somebody/images
)

_Parameters = TypeVar("_Parameters", RunParameters, ZooParameters)


def recorded(parameters: _Parameters) -> _Parameters:
    """Parameters as a store records them.

    Of files of code, weights and clusters, only the name is kept. In kwargs, absolute paths become
    ``PLACE`` and secrets ``SECRET``; a path that begins with ``~/`` means the same for everybody
    and is kept.
    """
    if isinstance(parameters, RunParameters):
        update = {
            "model": _section(parameters.model),
            "images": _section(parameters.images),
            "cluster": _file(parameters.cluster),
        }
        return parameters.model_copy(update=update)
    update = {
        "models": [_section(model) for model in parameters.models],
        "folder": None,
        "cluster": _file(parameters.cluster),
    }
    return parameters.model_copy(update=update)


def stored_identity(parameters: RunParameters) -> Mapping[str, Any]:
    """Parameters that a store must share with a run that continues it.

    The paths of code, weights and images, and the cluster, may change; digests of code, weights and
    images are compared instead. ``shards.images: auto`` agrees with any store and takes its shards.
    """
    left_out = {"name", "cluster", "spatial_statistics", "visualizations", "controls"}
    dumped = recorded(parameters).model_dump(mode="json", exclude=left_out)
    for key in ("weights", "entry", "training", "accuracy"):
        dumped["model"].pop(key)
    for key in ("factory", "kwargs", "keys", "unreadable"):
        dumped["images"].pop(key)
    for key in ("batch_size", "patience"):
        dumped["shards"].pop(key)
    # Intervals are computed from stored values, and the rest is computed again when it changes.
    computed = ("confidence", "percentages", "resamples", "sample_sizes", "superclasses")
    for key in (*computed, "directions"):
        dumped["significance"].pop(key)
    return dumped


def without_places(text: str) -> str:
    """A text, such as an error's, with the names of files in place of their absolute paths."""
    if _SECRET_TEXT.search(text):
        return SECRET
    return _ABSOLUTE.sub(lambda path: re.split(r"[\\/]+", path[0].rstrip("\\/"))[-1], text)


def not_recorded(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Dotted keys of kwargs whose values a store does not hold, and the texts in their place."""
    for key, value in kwargs.items():
        for inner, text in _texts(value):
            if text in (PLACE, SECRET):
                yield f"{key}{inner}", text


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield "", value
    elif isinstance(value, Mapping | list):
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in pairs:
            yield from ((f".{key}{inner}", text) for inner, text in _texts(item))


def _section(section: Any) -> Any:
    """Parameters of a model or of images, without absolute paths and secrets."""
    update: dict[str, Any] = {
        "factory": _factory(section.factory),
        "kwargs": {key: _value(value, key) for key, value in section.kwargs.items()},
    }
    if (weights := getattr(section, "weights", None)) is not None:
        update["weights"] = _weights(weights)
    if (training := getattr(section, "training", None)) is not None:
        kwargs = {key: _value(value, key) for key, value in training.kwargs.items()}
        update["training"] = training.model_copy(update={"kwargs": kwargs})
    return section.model_copy(update=update)


def _value(value: Any, key: str) -> Any:
    # Switches and sizes, such as use_auth_token: true and max_tokens: 64, are no secrets.
    secret = isinstance(value, str | list | dict) or "pass" in key.lower()
    if secret and _SECRET_KEY.search(_CAMEL.sub("_", key).lower()):
        return SECRET
    if isinstance(value, Mapping):
        return {_text(inner): _value(item, inner) for inner, item in value.items()}
    if isinstance(value, list):
        return [_value(item, "") for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    if _SECRET_TEXT.search(text):
        return SECRET
    return PLACE if _ABSOLUTE.search(text) else text


def _factory(factory: str) -> str:
    place, _, attribute = factory.rpartition(":")
    return f"{Path(place).name}:{attribute}" if place.endswith(".py") else factory


def _weights(weights: str) -> str:
    if weights_file(weights) is None:
        return weights
    name = Path(weights).name
    # A name without a slash could be read as torchvision weights.
    return name if Path(name).suffix else f"./{name}"


def _file(cluster: str) -> str:
    return Path(cluster).name if Path(cluster).suffix in {".yaml", ".yml"} else cluster
