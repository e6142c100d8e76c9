"""What a run asks for and what a store holds, each declared once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "parameters": ["RunParameters"],
        "run_error": ["RunError"],
        "run_files": ["load_run", "presets"],
        "variables": ["FORMAT_VERSION", "SchemaError", "validate"],
    },
)
