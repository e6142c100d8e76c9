"""The other side of benchmarks/spectra.py: powerlaw, WeightWatcher and numpy."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ddp_tasks.capacity.toeplitz import block_spectrum, symbol

Floats = npt.NDArray[np.float64]


def powerlaw_fit(values: Floats) -> Any:
    """powerlaw's fit of all values, α not capped at 3."""
    import powerlaw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return powerlaw.Fit(values, parameter_ranges={"alpha": [0, 1e6]}, verbose=0)


def random_eigenvalues(rows: int, columns: int) -> Floats:
    """λ of a normal matrix with unit variance."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(rows, columns, generator=generator)
    return torch.linalg.eigvalsh((X @ X.T).double()).clamp_min(0).numpy()


def network_of(layers: dict[str, torch.Tensor]) -> nn.Module:
    """A network with those weights, for a tool that only reads them."""
    modules: list[nn.Module] = []
    for W in layers.values():
        if W.ndim == 4:
            module: nn.Module = nn.Conv2d(W.shape[1], W.shape[0], W.shape[2], bias=False)
        else:
            module = nn.Linear(W.shape[1], W.shape[0], bias=False)
        module.weight = nn.Parameter(W)
        modules.append(module)
    return nn.Sequential(*modules)


def weightwatcher_analysis(network: nn.Module) -> Any:
    """WeightWatcher's table of a network."""
    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import weightwatcher

        watcher = weightwatcher.WeightWatcher(model=network)
        table = watcher.analyze(randomize=False, mp_fit=False, plot=False, min_evals=1)
    logging.disable(logging.NOTSET)
    return table


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """What a worker process with one thread sees; numpy's own comparison keeps its threads."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def numpy_spectrum(W: Floats, m: int) -> Floats:
    """All singular values of all blocks, descending (Sedghi, Gupta, Long 2019, their code)."""
    blocks = np.fft.fft2(W, (m, m), axes=(2, 3)).transpose(2, 3, 0, 1)
    return np.sort(np.linalg.svd(blocks, compute_uv=False), axis=None)[::-1]


@dataclass(frozen=True)
class Sample:
    """numpy's svd at some frequencies, scaled to all."""

    frequencies: int
    wall: float
    """Seconds on numpy's own threads."""
    processor: float
    """Seconds of processor time on one thread."""
    error: float
    """Greatest difference of ours over the greatest value."""


def numpy_sample(W: Floats, m: int, seconds: float) -> Sample:
    """numpy's svd of the blocks at random frequencies, for about so many seconds."""
    places = np.random.default_rng(0).permutation(m * m)
    d, c = W.shape[:2]
    few = max(1, min(32, (1 << 21) // (d * c)))
    np.linalg.svd(_blocks(W, m, places[:2]), compute_uv=False)
    wall = processor = 0.0
    done, values = 0, []
    while wall < seconds and done < len(places):
        blocks = _blocks(W, m, places[done : done + few])
        start = time.perf_counter()
        values.append(np.linalg.svd(blocks, compute_uv=False))
        wall += time.perf_counter() - start
        with one_blas_thread():
            start = time.process_time()
            np.linalg.svd(blocks, compute_uv=False)
            processor += time.process_time() - start
        done += len(blocks)
    scale = m * m / done
    error = _error(W, m, places[: min(done, 64)], np.concatenate(values))
    return Sample(done, wall * scale, processor * scale, error)


def _error(W: Floats, m: int, places: npt.NDArray[np.int64], expected: Floats) -> float:
    frequency = torch.from_numpy(places)
    sampled = dataclasses.replace(
        symbol(torch.from_numpy(W), (m, m)), frequency=frequency, count=torch.ones_like(frequency)
    )
    found = block_spectrum(sampled, (0, len(places))).reshape(len(places), -1)
    found = found.sort(dim=1, descending=True).values
    return float(np.abs(found.numpy() - expected[: len(places)]).max() / expected.max())


def _blocks(W: Floats, m: int, places: npt.NDArray[np.int64]) -> npt.NDArray[np.complex128]:
    """The blocks of numpy.fft.fft2 at some flat frequencies; shape (places, d, c)."""
    turns = [
        np.exp(-2j * np.pi * np.outer(p, np.arange(W.shape[2])) / m) for p in divmod(places, m)
    ]
    return np.einsum("dcst,fs,ft->fdc", W, *turns, optimize=True)
