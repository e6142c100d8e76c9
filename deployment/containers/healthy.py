"""Whether the server of this container answers: its exit status is that of a health check.

The variable DDP_HEALTH_URL names the page to ask: ``/api/ready`` of a Prefect server, ``/health``
of a Prefect worker or of a Dask scheduler or worker.
"""

from __future__ import annotations

import os
import urllib.request
from urllib.error import URLError

_SECONDS = 8


def main() -> None:
    """Ask, and end with 0 if the answer is a good one."""
    address = os.environ.get("DDP_HEALTH_URL")
    if not address:
        raise SystemExit("DDP_HEALTH_URL is not set; it names the page of the health check")
    # No proxy stands between a container and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=_SECONDS).close()
    except (URLError, TimeoutError, ValueError) as error:
        raise SystemExit(f"DDP_HEALTH_URL: {address!r} does not answer: {error}") from None


if __name__ == "__main__":
    main()
