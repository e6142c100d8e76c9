"""Settings that every test shares."""

import os

from hypothesis import settings

# In continuous integration the same examples are drawn on every run, so a failure there can be
# repeated; elsewhere every run draws new ones.
settings.register_profile(
    "suite", deadline=None, derandomize=bool(os.environ.get("CI")), print_blob=True
)
settings.load_profile("suite")
