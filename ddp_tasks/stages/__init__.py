"""The stages of a run as Prefect tasks, which spread the work of workers."""
