"""A cluster file: the Dask cluster to start, or the one that runs already."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.parameters import Factory, Kwargs, Workers
from schemas.section import Section

#: The form of a scheduler's address; which protocols there are is known where one is connected to.
Address = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+]*://\S+$", max_length=4000)]

FileName = Annotated[str, Field(min_length=1, max_length=4000)]

#: Keys that say how a cluster is started.
_OF_A_START = ("factory", "kwargs", "workers", "minimum", "maximum")


class Certificates(Section):
    """By which the hosts of a cluster know each other: made for it, or files in PEM."""

    temporary: bool = Field(
        False, description="make a certificate that only the processes of this cluster have"
    )
    ca_file: FileName | None = Field(None, description="the authority that signed the others")
    cert: FileName | None = Field(None, description="of scheduler, workers and runs")
    key: FileName | None = Field(None, description="of that; only its owner may read it")

    @property
    def files(self) -> dict[str, str]:
        """Names of files by their keys; none of a temporary certificate."""
        named = {"ca_file": self.ca_file, "cert": self.cert, "key": self.key}
        return {key: name for key, name in named.items() if name is not None}

    @model_validator(mode="after")
    def _made_or_named(self) -> Self:
        if len(self.files) != (0 if self.temporary else 3):
            raise ValueError(
                "ca_file, cert and key are given together, or temporary: true without them"
            )
        return self


class ClusterParameters(Section):
    """A cluster file: which Dask cluster to start, and how far it may grow, or where one runs."""

    factory: Factory | None = Field(
        None, description="module:callable that returns a Dask cluster, which ends with the run"
    )
    kwargs: Kwargs = Field(default_factory=dict, description="passed to the factory")
    workers: Workers | None = Field(None, description="scale to this many workers")
    minimum: Annotated[int, Field(ge=0, le=10**6)] | None = Field(None, description="adapt from")
    maximum: Workers | None = Field(None, description="adapt up to")
    address: Address | None = Field(
        None,
        description="in place of factory: a scheduler that runs already, and is left running, such "
        "as tcp://host:8786",
    )
    security: Certificates | None = Field(
        None,
        description="who may talk with the cluster: who has its certificates; a factory is given "
        "them as its argument security",
    )

    @model_validator(mode="after")
    def _started_or_there(self) -> Self:
        if self.factory is None and self.address is None:
            raise ValueError("neither factory nor address is given; one of them is needed")
        if self.address is not None and self.security and self.security.temporary:
            raise ValueError(
                "security.temporary is for a cluster that is started; the scheduler at an address "
                "has its certificates already, so name their files: ca_file, cert, key"
            )
        if self.security is not None and "security" in self.kwargs:
            raise ValueError("security and kwargs.security exclude each other; keep one of them")
        beside = [key for key in _OF_A_START if key in self.model_fields_set]
        if self.address is not None and beside:
            raise ValueError(
                f"address and {', '.join(beside)} exclude each other: the scheduler at an address "
                "runs already and has its workers; keep one of them"
            )
        return self

    @model_validator(mode="after")
    def _scale_or_adapt(self) -> Self:
        if (self.minimum is None) != (self.maximum is None):
            raise ValueError("minimum and maximum are given together or not at all")
        if self.maximum is not None and self.workers is not None:
            raise ValueError("workers and minimum, maximum exclude each other; keep one of them")
        if (self.minimum or 0) > (self.maximum or self.minimum or 0):
            raise ValueError(f"minimum {self.minimum} is greater than maximum {self.maximum}")
        return self
