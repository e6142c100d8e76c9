"""What a store was made of, and whether a run may continue it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ddp_tasks.callables.source_code import code_digests
from schemas.parameters import RunParameters
from schemas.recording import stored_identity
from schemas.variables import FORMAT_VERSION


class MadeOf(NamedTuple):
    """Digests of what a run's workers must open; small enough to send with each task."""

    model_digest: str
    images_digest: str

    @classmethod
    def of_store(cls, attributes: Mapping[str, str]) -> MadeOf:
        """What a store was made of, from its root attributes."""
        return cls(attributes["model_digest"], attributes["images_digest"])


@dataclass(frozen=True)
class Identity:
    """What a store was made of; a run continues a store only if all of it agrees."""

    parameters: Mapping[str, Any]
    model_digest: str | None
    """None as long as a network that the run trains itself is not trained yet."""
    images_digest: str
    code: Mapping[str, Mapping[str, str]]
    """as ``code_of`` returns it."""
    weights: str = ""
    """which tensors of a checkpoint's file the model has; recorded, but not compared."""

    @classmethod
    def of_run(cls, run: RunParameters, model_digest: str | None, images_digest: str) -> Identity:
        """The identity of a run whose images are known."""
        return cls(stored_identity(run), model_digest, images_digest, code_of(run))

    def refusal(self, stored: Mapping[str, Any]) -> str | None:
        """Why a store with these root attributes may not be continued; None if it may."""
        if stored["format_version"] != str(FORMAT_VERSION):
            return f"it has format version {stored['format_version']}, not {FORMAT_VERSION}"
        theirs = _flat(json.loads(stored["identity"]))
        ours = _flat(self.parameters)
        if ours.get("shards.images") == "auto":
            ours["shards.images"] = theirs.get("shards.images")
        differences = [
            f"{key} is {theirs.get(key, 'not set')!r} there and {ours.get(key, 'not set')!r} here"
            for key in sorted({*theirs, *ours})
            if theirs.get(key, "not set") != ours.get(key, "not set")
        ]
        differences += changed_code(json.loads(stored["code"]), self.code)
        if self.model_digest not in (None, stored["model_digest"]):
            differences.append("the model's weights differ")
        if not same_images(stored["images_digest"], self.images_digest):
            differences.append("the images differ")
        return "; ".join(differences) or None


def code_of(run: RunParameters) -> dict[str, dict[str, str]]:
    """Digests of a person's own files behind the run's factories, by key and by file.

    The same code in another place has the same digests. Code of installed packages has none.
    """
    return {
        "model.factory": code_digests(run.model.factory),
        "images.factory": code_digests(run.images.factory),
    }


def changed_code(
    stored: Mapping[str, Mapping[str, str]], current: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """In which files the code behind a store's factories differs from today's, in words."""
    sentences = []
    for key, ours in current.items():
        theirs = stored.get(key, {})
        files = [name for name in sorted({*theirs, *ours}) if theirs.get(name) != ours.get(name)]
        if files:
            sentences.append(f"the code of {key} differs ({', '.join(files)})")
    return sentences


def same_images(one: str, other: str) -> bool:
    """Whether two digests from ``ImageSet.digest`` may be of the same images.

    An image that was unreadable for one of them may have been repaired since.
    """
    described, _, contents = one.partition(":")
    other_described, _, other_contents = other.partition(":")
    pairs = list(zip(contents.split(","), other_contents.split(","), strict=False))
    return described == other_described and all(a == b or "-" in (a, b) for a, b in pairs)


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
