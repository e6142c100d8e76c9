"""Prefect flows over the tasks of ``ddp_tasks``."""

import os

# Prefect reads its settings when it is first imported. None of these overrides what a person
# has set: they keep Prefect from reporting usage over the network, and give its temporary
# server longer than the 20 s that a busy machine can need to start it.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
