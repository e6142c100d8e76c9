"""The text of a new run file: what was found, and every other key as a comment."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ddp_tasks.images.picture_folders import PictureFolder
from schemas.json_schema import MODELINE, schema_path
from schemas.parameters import ModelParameters, RunParameters

_LONGEST = 96


@dataclass(frozen=True)
class Guess:
    """What a run file is filled in with."""

    model: ModelParameters
    images: PictureFolder
    transform: Mapping[str, Any]
    per_class: int
    split: bool
    """whether all classes have images enough that half of them choose."""


def run_file_text(guess: Guess) -> str:
    """A run file that runs as it is; keys that it does not give stand in comments."""
    model: dict[str, Any] = {"factory": guess.model.factory}
    if guess.model.kwargs:
        model["kwargs"] = dict(guess.model.kwargs)
    model["weights"] = guess.model.weights
    images = {
        "factory": guess.images.factory,
        "kwargs": dict(guess.images.kwargs),
        "transform": dict(guess.transform),
        "per_class": guess.per_class,
    }
    given: dict[str, dict[str, Any]] = {"model": model, "images": images}
    if not guess.split:
        given["significance"] = {"split": None}
    lines = [
        f"{MODELINE}{schema_path('run')}",
        "# A line that begins with # names a key with its default; take the # away to change it.",
        "# ddp run FILE carries it out, ddp layers FILE lists the layers that it would analyse.",
    ]
    for name, field in RunParameters.model_fields.items():
        if name == "name":
            continue
        lines.append("")
        section = _section(field)
        if section is None:
            lines += [f"# {line}" for line in _lines(name, _default(field), field.description)]
            continue
        own = given.get(name, {})
        if not own:
            lines.append(f"# {name}:")
        else:
            lines += [f"{name}:", *_notes(name, guess)]
        lines += _keys(section, own, commented=not own)
    return "\n".join(lines) + "\n"


def _notes(section: str, guess: Guess) -> Iterator[str]:
    """What was found and what is only a guess."""
    if section == "images":
        yield f"  # Found: {guess.images.said}."
        sizes = [f"{height} × {width}" for height, width in guess.images.sizes]
        if sizes:
            yield f"  # Pictures opened are {' to '.join(sizes)} pixels."
        named = guess.model.weights is not None and guess.model.weights_file is None
        if named:
            yield "  # The transform is that of torchvision's weights."
        elif guess.images.mean:
            yield "  # mean and std are measured on these pictures: write those that the network"
            yield "  # was trained with, or it will see other inputs than it knows."
        else:
            yield "  # Write mean and std in the transform, if the network was trained with some."
    if section == "significance":
        yield "  # A class has one image only, so no half of it can choose."


def _keys(section: type[BaseModel], own: Mapping[str, Any], *, commented: bool) -> Iterator[str]:
    """The keys of a section: those given, and the others as comments."""
    for name, field in section.model_fields.items():
        key = field.alias or name
        *above, line = _lines(key, own.get(key, _default(field)), field.description)
        outer = "#   " if commented else "  "
        yield from (outer + told for told in above)
        yield outer + ("" if commented or key in own else "# ") + line


def _lines(key: str, value: Any, description: str | None) -> list[str]:
    """A key with its value and what it means: beside it, or above it where that is long."""
    told = f"{key}: {_flow(value)}"
    if description is None:
        return [told]
    if len(said := f"{told}  # {description}") <= _LONGEST:
        return [said]
    return [
        *textwrap.wrap(description, initial_indent="# ", subsequent_indent="# ", width=90),
        told,
    ]


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    plain = json.loads(json.dumps(value))
    text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return None
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    return default


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key holds, or None of a value."""
    for annotation in (field.annotation, *get_args(field.annotation)):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
    return None
