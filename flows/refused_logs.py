"""Lines of a run's log that its Prefect server does not take: said once, not of every few lines."""

from __future__ import annotations

import sys
from typing import Any

from prefect.logging import handlers


class _LogWorker(handlers.APILogWorker):
    """Sends the log to one server, and leaves out what it refuses."""

    _said = False

    async def _handle_batch(self, items: list[dict[str, Any]]) -> None:
        try:
            await self._client.create_logs(items)
        # Whatever becomes of the log's copy in Prefect, the run goes on.
        except Exception as error:  # noqa: BLE001
            if not self._said:
                self._said = True
                said = f"{type(error).__name__}: {error}".partition("\n")[0]
                sys.stderr.write(
                    "ddp: Prefect does not take all of the log, the run goes on without it there: "
                    f"{said}\n"
                )


def say_refused_logs_once() -> None:
    """Have Prefect's log handler say once of each server that it refuses lines."""
    handlers.APILogWorker = _LogWorker  # type: ignore[misc]
