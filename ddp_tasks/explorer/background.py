"""Work that takes longer than a slider may: done beside the server, and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from schemas.run_error import RunError

#: Results that are kept, of those asked for last.
_KEPT = 12


@dataclass
class Background:
    """Results by their keys; each is made once, by one thread at a time."""

    _results: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)
    _making: set[Hashable] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def result(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """A result, or None while it is being made.

        Parameters
        ----------
        make
            called in a thread of its own, once.

        Raises
        ------
        RunError
            If that is what ``make`` raised; it is tried again when asked for again.
        """
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                found = self._results[key]
                if isinstance(found, RunError):
                    del self._results[key]
                    raise found
                return found
            if key in self._making:
                return None
            self._making.add(key)
        threading.Thread(target=self._make, args=(key, make), daemon=True).start()
        return None

    def is_quiet(self) -> bool:
        """Whether nothing is being made."""
        with self._lock:
            return not self._making

    def _make(self, key: Hashable, make: Callable[[], Any]) -> None:
        result: Any
        with self._turn:
            try:
                result = make()
            except RunError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - it is said on the page instead
                result = RunError(f"{type(error).__name__}: {error}")
        with self._lock:
            self._results[key] = result
            while len(self._results) > _KEPT:
                self._results.popitem(last=False)
            self._making.remove(key)
