"""Hypergraphs of classes over singular vectors, and semantic hierarchies (sections 5.1, 5.2)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "family": ["Family"],
        "hif": ["read_hif", "write_hif"],
        "hypergraph": ["LayerHypergraph", "layer_hypergraph"],
    },
)
