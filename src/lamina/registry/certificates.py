"""Whom to trust, and how to say who we are, in TLS.

A folder named after the registry (`HOST` or `HOST:PORT`) holds what is for that registry alone: any
`*.crt` is an authority to trust beside the usual ones, and `NAME.cert` with `NAME.key` is our own
certificate (dockerd's and the containers tools' certs.d(5)). The first folder there is counts:

    ~/.config/containers/certs.d/HOST, /etc/containers/certs.d/HOST,
    ~/.config/docker/certs.d/HOST, /etc/docker/certs.d/HOST
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lamina.errors import UserError

if TYPE_CHECKING:
    import ssl

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def certificate_folder(
    authority: str, environ: Mapping[str, str], *, system: str = "/etc"
) -> str | None:
    """The folder for `host[:port]`, None where nobody made one."""
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME") or (home and os.path.join(home, ".config"))
    for tool in ("containers", "docker"):
        for root in (config, system):
            folder = os.path.join(root, tool, "certs.d", authority) if root else ""
            if folder and os.path.isdir(folder):
                return folder
    return None


def ssl_context(
    environ: Mapping[str, str], *, folder: str | None = None, insecure: bool = False
) -> ssl.SSLContext:
    """Verifies by SSL_CERT_FILE and SSL_CERT_DIR, else by the system's certificates, and by those
    of `folder`; anybody is believed where `insecure`. Raises UserError for what cannot be read."""
    import ssl

    context = _by_environment(environ)
    if folder is not None:
        _add_folder(context, folder)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _by_environment(environ: Mapping[str, str]) -> ssl.SSLContext:
    import ssl

    file, folder = environ.get("SSL_CERT_FILE"), environ.get("SSL_CERT_DIR")
    try:
        if file or folder:
            return ssl.create_default_context(cafile=file or None, capath=folder or None)
        paths = ssl.get_default_verify_paths()
        if paths.cafile or (paths.capath and os.listdir(paths.capath)):
            return ssl.create_default_context()
        # A Python that was built elsewhere does not know where this system keeps them.
        bundle = next((path for path in _BUNDLES if os.path.exists(path)), None)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise UserError(
            f"the certificates of {file or folder or 'the system'} cannot be read: {error}",
            hint="check SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def _add_folder(context: ssl.SSLContext, folder: str) -> None:
    for path in _files(folder, ".crt"):
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            raise _unreadable(path, error) from error
    for path in _files(folder, ".cert"):
        key = f"{path.removesuffix('.cert')}.key"
        if not os.path.exists(key):
            raise UserError(
                f"{path}: there is no key beside this certificate ({os.path.basename(key)})",
                hint="a name in .crt is an authority to trust; .cert and .key are our own",
            )
        try:
            context.load_cert_chain(path, key, password=lambda: b"")
        except OSError as error:
            raise _unreadable(path, error) from error


def _files(folder: str, end: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from error
    return (os.path.join(folder, name) for name in names if name.endswith(end))


def _unreadable(path: str, error: OSError) -> UserError:
    return UserError(f"{path} cannot be read as a certificate: {error.strerror or error}")
