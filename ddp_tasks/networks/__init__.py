"""Classifiers, their linear layers, and one forward pass through them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "factorised_layers": ["pruned"],
        "imagenet_networks": ["efficientnet_lite"],
        "paper_networks": ["CifarResNet", "CifarVGG16", "PaperNetwork"],
        "models": ["open_model"],
        "tracing": ["trace_layers"],
    },
)
