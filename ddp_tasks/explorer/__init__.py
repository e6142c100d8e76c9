"""The explorer: a finished run, or two, looked at in a browser while its levels are moved."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"server": ["explore"]})
