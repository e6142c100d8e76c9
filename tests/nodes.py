"""Nodes of made-up layers."""

from __future__ import annotations

import numpy as np

from ddp_tasks.weights.layer_vectors import LayerVectors
from ddp_tasks.weights.signed_vectors import SignedVectors


def nodes(values, layer="layer", directions=("positive",)) -> SignedVectors:
    """The nodes of a layer with these singular values, none of them close to another."""
    values = np.asarray(values, dtype=np.float64)
    return SignedVectors(LayerVectors(layer, values, np.ones(len(values))), directions)
