"""Log lines that the Prefect server refuses: reported once, not for every batch."""

from __future__ import annotations

import sys
from typing import Any

from prefect.logging import handlers


class _LogWorker(handlers.APILogWorker):
    """Sends the log to one server, and drops batches that it refuses."""

    _reported = False

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        try:
            await self._client.create_logs(items)
        # A lost copy of the log in Prefect does not stop the run.
        except Exception as error:  # noqa: BLE001
            if not self._reported:
                self._reported = True
                message = f"{type(error).__name__}: {error}".partition("\n")[0]
                sys.stderr.write(
                    f"ddp: Prefect does not accept all of the log; the run goes on: {message}\n"
                )


def say_refused_logs_once() -> None:
    """Let Prefect's log handler report refused lines once for each server."""
    handlers.APILogWorker = _LogWorker  # type: ignore[misc]
