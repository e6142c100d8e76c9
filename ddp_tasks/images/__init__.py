"""Labelled image sets, and how their images are read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "digits": ["Digits"],
        "named_image_sets": ["LabelledFolders", "cifar10", "imagenet", "picture_folder"],
        "image_sets": ["ImageSet", "open_images"],
    },
)
