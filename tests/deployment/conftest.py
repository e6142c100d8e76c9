"""What a deployment has, started once for the tests of a file that share it."""

import postgres
import pytest
from deployed import deployed_on
from prefect_processes import Prefect

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="module", params=DATABASES)
def deployed(request, tmp_path_factory):
    """A Prefect server on a new database, with everything of ``deployment/prefect.yaml``."""
    home = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        with deployed_on(Prefect(home)) as deployed:
            yield deployed
        return
    with postgres.database() as database, deployed_on(Prefect(home, database)) as deployed:
        yield deployed
