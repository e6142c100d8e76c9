"""Prefect flows over the tasks of ``ddp_tasks``."""

import os

# Prefect reads its settings when it is first imported. None of these overrides what a person
# has set. They keep Prefect from reporting usage over the network, give its temporary server more
# than the usual 20 s to start, which a busy machine may need, and let its client try for about
# two minutes to reach a server that is away or answers with an error.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "6")
os.environ.setdefault("PREFECT_CLIENT_RETRY_EXTRA_CODES", "500,504")

#: Names of this machine.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _reach_this_machine_without_proxies() -> None:
    """Add this machine to the hosts that are reached without a proxy."""
    names = [name for name in ("no_proxy", "NO_PROXY") if os.environ.get(name)]
    for name in names or ["no_proxy", "NO_PROXY"]:
        hosts = [host.strip() for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in hosts:
            os.environ[name] = ",".join(dict.fromkeys([*hosts, *_LOOPBACK]))


_reach_this_machine_without_proxies()
