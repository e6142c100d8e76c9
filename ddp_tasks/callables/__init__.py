"""A person's own code behind a run: found by its name, called, and identified by its content."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"factories": ["call", "resolve"], "source_code": ["code_digests"]},
)
