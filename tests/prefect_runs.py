"""What a Prefect server holds of a run."""

from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.sorting import FlowRunSort


def run_in(client, folder):
    """The last run of a flow whose results are in a folder."""
    runs = client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)
    return next(run for run in runs if run.parameters.get("out") == str(folder))


def artifacts_of(client, run):
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=of_run)}


def edges(client, run):
    """The stages of a run and those that each needs, as the UI draws them."""
    nodes = client.request("GET", "/flow_runs/{id}/graph-v2", path_params={"id": run.id}).json()
    names = {key: node["label"] for key, node in nodes["nodes"]}
    return {
        node["label"]: {names[parent["id"]] for parent in node["parents"]}
        for _, node in nodes["nodes"]
    }
