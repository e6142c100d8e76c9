"""The only room that knows Zarr and the files of the cube."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cube": ["layer_signals"],
        "groups": ["read", "root_attributes"],
        "wholeness": ["check_folder"],
    },
)
