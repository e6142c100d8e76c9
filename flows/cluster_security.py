"""Who may talk with a Dask cluster: certificates of its own, or those that a cluster file names."""

from __future__ import annotations

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from distributed import Security

from schemas.cluster_parameters import ClusterParameters
from schemas.run_error import RunError

#: A run may be a month's; the certificate ends with its cluster in any case.
_VALID = timedelta(days=365)

#: A clock that is a little behind still finds the certificate valid.
_BEFORE = timedelta(days=1)


class InMemory(Security):
    """Certificates of one cluster, whose key no disk ever holds.

    Dask writes a key in memory to a temporary file, since OpenSSL reads keys from files alone. On
    Linux, a file may be memory that has no name in any folder.
    """

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """As Dask's, for a connection that a client, scheduler or worker opens."""
        context = self._context(role, ssl.Purpose.SERVER_AUTH)
        if context is None:
            return super().get_connection_args(role)
        return {
            "ssl_context": context,
            "require_encryption": self.require_encryption,
            "extra_conn_args": self.extra_conn_args,
        }

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """As Dask's, for the port of a scheduler or worker."""
        context = self._context(role, ssl.Purpose.CLIENT_AUTH)
        if context is None:
            return super().get_listen_args(role)
        return {"ssl_context": context, "require_encryption": self.require_encryption}

    def _context(self, role: str, purpose: ssl.Purpose) -> ssl.SSLContext | None:
        """The role's certificates, asked for from both ends; None where no file can be memory.

        dask-jobqueue puts files of its own in place of the texts, for jobs on other hosts.
        """
        own = self.get_tls_config_for_role(role)
        if not hasattr(os, "memfd_create") or "\n" not in own["key"]:
            return None
        context = ssl.create_default_context(purpose, cadata=own["ca_file"])
        context.minimum_version = self.tls_min_version
        with os.fdopen(os.memfd_create("certificate"), "w") as file:
            file.write(own["key"] + own["cert"])
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        context.check_hostname = False  # the one certificate that is trusted names no host
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def of(parameters: ClusterParameters) -> Security | None:
    """The certificates of a cluster file; None if it leaves them to Dask's configuration.

    Raises
    ------
    RunError
        If a file cannot be read, is no certificate or key, or others may read the key.
    """
    if parameters.security is None:
        return None
    if parameters.security.temporary:
        return temporary()
    files = parameters.security.files
    for name, place in files.items():
        try:
            mode = Path(place).stat().st_mode
            with Path(place).open("rb"):
                pass
        except OSError as error:
            raise RunError(f"cluster: security.{name}: {place}: {error.strerror}") from None
        if name == "key" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise RunError(
                f"cluster: security.key: {place} may be read by others than its owner (mode "
                f"{stat.S_IMODE(mode):o}); chmod 600 {place}"
            )
    roles = ("client", "scheduler", "worker")
    security = Security(
        require_encryption=True,
        tls_ca_file=files["ca_file"],
        **{f"tls_{role}_key": files["key"] for role in roles},
        **{f"tls_{role}_cert": files["cert"] for role in roles},
    )
    try:
        security.get_connection_args("client")
    except ssl.SSLError as error:
        raise RunError(
            f"cluster: security: {', '.join(files.values())} are not an authority, a certificate "
            f"and its key in PEM: {error.reason or error}"
        ) from None
    return security


def temporary() -> InMemory:
    """Certificates for a cluster that ends with this process.

    As ``Security.temporary`` of Dask, with an elliptic key: an RSA key takes from 0.04 to 0.4 s.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ddp")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    own = certificate.public_bytes(serialization.Encoding.PEM).decode()
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    roles = ("client", "scheduler", "worker")
    return InMemory(
        require_encryption=True,
        tls_min_version=ssl.TLSVersion.TLSv1_3,
        tls_ca_file=own,
        **{f"tls_{role}_key": secret for role in roles},
        **{f"tls_{role}_cert": own for role in roles},
    )
