"""Reference of the store, from the declarations in schemas."""

from __future__ import annotations

from docs.generated.markdown import code, escaped, table
from schemas.declaration import Group
from schemas.variables import DIMENSIONS, GROUPS, ROOT_ATTRIBUTES, ZOO_ATTRIBUTES


def groups() -> str:
    """Every group with all of its variables."""
    return "\n".join(
        f"## `/{name}`\n\n{escaped(group.meaning)}\n\n{_variables(group)}"
        for name, group in GROUPS.items()
    )


def _variables(group: Group) -> str:
    rows = [
        (
            code(name) + (" (may be missing)" if variable.optional else ""),
            ", ".join(map(code, variable.dims)),
            variable.kind,
            escaped(variable.units),
            escaped(variable.meaning),
            escaped(variable.source),
        )
        for name, variable in group.variables.items()
    ]
    return table(["variable", "dimensions", "kind", "units", "meaning", "in the paper"], rows)


def dimensions() -> str:
    """Every dimension, and what its coordinate counts."""
    return table(["dimension", "meaning"], [(code(k), escaped(v)) for k, v in DIMENSIONS.items()])


def attributes() -> str:
    """Attributes of the root of a run's store and of a store over a list of models."""
    rows = [
        (code(name), escaped(ROOT_ATTRIBUTES.get(name) or ZOO_ATTRIBUTES[name]), of)
        for name in {**ROOT_ATTRIBUTES, **ZOO_ATTRIBUTES}
        for of in (
            "both"
            if name in ROOT_ATTRIBUTES and name in ZOO_ATTRIBUTES
            else "a run"
            if name in ROOT_ATTRIBUTES
            else "a list of models",
        )
    ]
    return table(["attribute", "meaning", "of"], rows)
