import socket
import ssl
import tempfile
import urllib.error
import urllib.request
from contextlib import closing, contextmanager

import pytest
from distributed import Client
from distributed.comm.addressing import get_address_host_port

from ddp_tasks.stages.bounded_futures import certified, connected
from flows import cluster_security
from flows.clusters import check_cluster, ending, local_cluster, scheduler
from schemas.run_error import RunError

LOCAL = "factory: distributed:LocalCluster"


@pytest.fixture(scope="module")
def cluster():
    with ending(local_cluster(1, 1)) as started:
        yield started


@pytest.fixture
def client(cluster):
    with Client(cluster, set_as_default=False) as opened:
        yield opened


def ports(client):
    """Addresses at which the cluster's scheduler, worker and nanny listen."""
    ((worker, known),) = client.scheduler_info()["workers"].items()
    return [client.scheduler.address, worker, known["nanny"]]


@contextmanager
def handshake(address, context):
    with (
        closing(socket.create_connection(get_address_host_port(address), timeout=30)) as plain,
        context.wrap_socket(plain) as opened,
    ):
        yield opened


def trusting():
    """Of a client that believes every server."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_all_of_a_local_cluster_listens_on_loopback_by_tls(client):
    for address in ports(client):
        assert address.startswith("tls://127.0.0.1:")
        with handshake(address, trusting()) as opened:
            assert opened.version() == "TLSv1.3"


def test_a_client_that_speaks_plain_tcp_is_refused(cluster):
    address = cluster.scheduler_address.replace("tls://", "tcp://")
    with (
        pytest.raises(OSError, match="closed"),
        Client(address, timeout=1, set_as_default=False),
    ):
        pytest.fail("it was let in")


def test_a_client_without_a_certificate_is_refused(client):
    for address in ports(client):
        with (
            pytest.raises(ssl.SSLError, match="certificate required"),
            handshake(address, trusting()) as opened,
        ):
            opened.recv(1)


def test_a_client_with_the_certificate_of_another_cluster_is_refused(cluster):
    address = cluster.scheduler_address
    with (
        pytest.raises(OSError, match="certificate does not match"),
        Client(address, security=cluster_security.temporary(), timeout=1, set_as_default=False),
    ):
        pytest.fail("it was let in")


def test_stages_connect_with_the_certificates_of_their_cluster(cluster):
    address = cluster.scheduler_address
    with certified(address, cluster.security), connected(address) as client:
        assert client.submit(sum, [1, 2]).result() == 3


def test_pages_of_dask_are_off(client):
    info = client.scheduler_info()
    (worker,) = info["workers"].values()
    for port in (info["services"]["dashboard"], worker["services"]["dashboard"]):
        here = f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"{here}/health") as answer:
            assert answer.read() == b"ok"
        for page in ("status", "info/main/workers.html", "json/counts.json", "metrics"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{here}/{page}")


def test_no_file_holds_the_key(monkeypatch, tmp_path):
    # Dask's own way ends here, as there is no folder for its file.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    security = cluster_security.temporary()
    for role in ("client", "scheduler", "worker"):
        for arguments in (security.get_connection_args(role), security.get_listen_args(role)):
            assert arguments["ssl_context"].verify_mode == ssl.CERT_REQUIRED
            assert arguments["require_encryption"]
    assert "PRIVATE" not in repr(security)


@pytest.fixture
def certificates(tmp_path):
    """Files of a temporary certificate, which is its own authority."""
    made = cluster_security.temporary()
    for name, text in (
        ("ca.pem", made.tls_ca_file),
        ("ddp.pem", made.tls_client_cert),
        ("ddp-key.pem", made.tls_client_key),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "ddp-key.pem").chmod(0o600)
    return tmp_path


def written(folder, start):
    """A cluster file with certificates that lie beside it."""
    file = folder / "cluster.yaml"
    named = "security: {ca_file: ca.pem, cert: ddp.pem, key: ddp-key.pem}\n"
    file.write_text(f"{start}\n{named}")
    return str(file)


def test_a_cluster_file_names_certificates_for_a_scheduler_that_runs(certificates):
    started = written(
        certificates,
        "factory: distributed:LocalCluster\n"
        "kwargs: {n_workers: 1, threads_per_worker: 1, host: 127.0.0.1, "
        'dashboard_address: "127.0.0.1:0"}',
    )
    with scheduler(started) as address:
        assert address.startswith("tls://")
        running = written(certificates, f"address: {address}")
        with scheduler(running) as same, connected(same) as client:
            assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "ddp-key.pem").chmod(0o644), r"mode 644\); chmod 600 /"),
        (lambda f: (f / "ddp-key.pem").chmod(0o640), "may be read by others than its owner"),
        (lambda f: (f / "ca.pem").unlink(), r"security.ca_file: /.*: No such file"),
        (lambda f: (f / "ddp.pem").write_text("none"), "are not an authority, a certificate and"),
    ],
)
def test_certificates_that_cannot_be_used_are_refused_before_work(certificates, damage, said):
    damage(certificates)
    with pytest.raises(RunError, match=said):
        check_cluster(written(certificates, "address: tls://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("address: tls://a:1\nsecurity: {temporary: true}", "name their files: ca_file, cert, key"),
        (f"{LOCAL}\nsecurity: {{ca_file: a}}", "ca_file, cert and key are given together"),
        (f"{LOCAL}\nsecurity: {{temporary: true, key: a}}", "or temporary: true without them"),
        (
            f"{LOCAL}\nsecurity: {{temporary: true}}\nkwargs: {{security: true}}",
            "security and kwargs.security exclude each other",
        ),
    ],
)
def test_cluster_files_name_certificates_whole(tmp_path, content, said):
    file = tmp_path / "cluster.yaml"
    file.write_text(content)
    with pytest.raises(RunError, match=said):
        check_cluster(str(file))


def test_jobs_of_slurm_get_a_certificate_that_only_their_user_can_read(tmp_path):
    from dask_jobqueue import SLURMCluster

    with SLURMCluster(
        cores=1,
        memory="1GB",
        security=cluster_security.temporary(),
        shared_temp_directory=str(tmp_path),
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        script = cluster.job_script()
        files = list(tmp_path.iterdir())
        for file in files:
            assert str(file) in script
            assert file.stat().st_mode & 0o077 == 0
        assert "PRIVATE" not in script
    assert len(files) == 3


def test_an_address_without_certificates_says_where_they_are_named():
    with pytest.raises(RunError, match="needs certificates; name them in a cluster file"):
        check_cluster("tls://127.0.0.1:9")
