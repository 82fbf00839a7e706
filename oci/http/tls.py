"""Whom to trust, and who we are: an SSLContext for a host.

Trusted are the system's authorities (or `ca_file` and `ca_path` in their place, as SSL_CERT_FILE and SSL_CERT_DIR say),
and for one host those in its folder of certs.d. By containers-certs.d(5) and Docker's rule, the folder is named
HOST[:PORT]; `*.crt` in it are authorities, `NAME.cert` with `NAME.key` is our certificate for that host. Of several
places, the first with a folder for the host counts. Of several client certificates there, the first by name is used.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from oci.errors import ConfigurationError

if TYPE_CHECKING:
    from oci.http.settings import TlsSettings

__all__ = ["context_for", "trust_system"]

MAX_CERTS = 1000  # files in one folder of certificates


def context_for(tls: TlsSettings, host: str, port: int) -> ssl.SSLContext:
    """Make a context with the certificates that are this host's own; ConfigurationError for those that can't be used.

    The system's authorities are not in it yet: see `trust_system`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    folder = tls.cert_dir if tls.cert_dir is not None else _folder_of(tls.cert_dirs, host, port)
    if folder is not None:
        _load(context, folder, must_exist=tls.cert_dir is not None)
    return context


def trust_system(context: ssl.SSLContext, tls: TlsSettings) -> None:
    """Add the system's authorities, or those that stand in their place. This takes some 20 ms."""
    if tls.ca_file is None and tls.ca_path is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    for path, words in ((tls.ca_file, {"cafile": tls.ca_file}), (tls.ca_path, {"capath": tls.ca_path})):
        if path is None:
            continue
        try:
            context.load_verify_locations(**words)
        except OSError as error:
            raise ConfigurationError(path, f"no certificates of authorities: {_reason(error)}") from None


def _folder_of(bases: tuple[str, ...], host: str, port: int) -> str | None:
    """Give the first folder for the host; on the port 443 its name may say so or not."""
    name = f"[{host}]" if ":" in host else host
    names = (name, f"{name}:{port}") if port == 443 else (f"{name}:{port}",)
    for base in bases:
        for wanted in names:
            folder = os.path.join(base, wanted)
            if os.path.isdir(folder):
                return folder
    return None


def _load(context: ssl.SSLContext, folder: str, *, must_exist: bool) -> None:
    try:
        names = sorted(os.listdir(folder))
    except PermissionError:
        if must_exist:
            raise ConfigurationError(folder, "may not be read") from None
        return  # as the other tools do: /etc/docker/certs.d may be root's alone
    except OSError as error:
        raise ConfigurationError(folder, f"no folder of certificates: {_reason(error)}") from None
    if len(names) > MAX_CERTS:
        raise ConfigurationError(folder, f"{len(names)} files; at most {MAX_CERTS} are taken")
    _check_pairs(folder, names)
    for name in names:
        if name.endswith(".crt"):
            path = os.path.join(folder, name)
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:
                raise ConfigurationError(path, f"no certificate of an authority: {_reason(error)}") from None
    certs = [name for name in names if name.endswith(".cert")]
    if certs:
        cert = os.path.join(folder, certs[0])
        try:
            context.load_cert_chain(cert, cert.removesuffix(".cert") + ".key", password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigurationError(cert, f"no client certificate with its key: {_reason(error)}") from None


def _check_pairs(folder: str, names: list[str]) -> None:
    there = set(names)
    for name in names:
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            if key not in there:
                reason = f"its key {key} is missing beside it; a certificate of an authority is named *.crt"
                raise ConfigurationError(os.path.join(folder, name), reason)
        elif name.endswith(".key"):
            cert = name.removesuffix(".key") + ".cert"
            if cert not in there:
                raise ConfigurationError(os.path.join(folder, name), f"its certificate {cert} is missing beside it")


def _no_password() -> str:
    # Without this, OpenSSL asks on the terminal for the password of an encrypted key.
    raise ValueError("the key is encrypted, which is not supported")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        words = str(error.reason or "").replace("_", " ").lower()
        return words or "not in PEM format"
    if isinstance(error, OSError):
        return (error.strerror or "can't be read").lower()
    return str(error)
