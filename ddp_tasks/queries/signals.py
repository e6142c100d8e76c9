"""Signals of a finished run, read without the rest of its cube."""

from ddp_tasks.store.cube import layer_signals

__all__ = ["layer_signals"]
