"""`login` and `logout`: who we are at a registry, kept where podman, skopeo and docker look for it too.

A password comes from the terminal or from stdin. As an argument it can be seen by every user of the machine; it is
taken for the sake of scripts that have it so, and said to be a bad idea.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

from oci.cli import options, output
from oci.cli.failures import UsageError
from oci.cli.lazily import typer
from oci.cli.session import Session
from oci.errors import show
from oci.spec.reference import is_host, is_repository

if TYPE_CHECKING:
    from oci.auth.credential_files import Place
    from oci.auth.credential_helpers import Helpers
    from oci.auth.credentials import CredentialFiles

__all__ = ["login", "logout"]

MAX_PASSWORD = 65536  # bytes of stdin: the longest known are keys of service accounts in JSON, 2 to 4 KiB


def login(
    context: typer.Context,
    registry: Annotated[str, options.Host],
    username: Annotated[
        str | None, typer.Option("--username", "-u", metavar="USER", help="Who to be.", show_default=False)
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin, as programs should hand it over.")
    ] = False,
    password: Annotated[
        str | None,
        typer.Option(
            "--password",
            "-p",
            metavar="PASSWORD",
            help="The password, for every user of this machine to see; better --password-stdin.",
            show_default=False,
        ),
    ] = None,
    get_login: Annotated[
        bool, typer.Option("--get-login", help="Only print the user name of the login that there is.")
    ] = False,
) -> None:
    """Log in to a registry, for ocikit, podman, skopeo and docker alike.

    The registry is asked whether the credentials are right before they are kept: in --authfile, REGISTRY_AUTH_FILE,
    config.json in DOCKER_CONFIG, or podman's auth.json, which is gone after a restart mostly. Where that file names a
    credential helper (credHelpers, credsStore), the helper gets them. What is missing is asked for on the terminal.

    \b
    Example:
      ocikit login quay.io
      ocikit login ghcr.io -u alice --password-stdin < token.txt
      ocikit login registry.example.org/team --get-login
    """
    session = Session.of(context)
    name = parse_registry(registry)
    if "creds" in session.access:
        raise UsageError("login takes the user by --username and the password by --password-stdin, not by --creds")
    if get_login:
        _print_login(session, name)
        return
    if password is not None and password_stdin:
        raise UsageError("--password and --password-stdin are two ways to say one thing; say one of them")
    if password_stdin and username is None:
        raise UsageError("--password-stdin needs --username")
    if password is not None:
        session.warn("--password can be seen by every user of this machine; use --password-stdin")
    _log_in(session, name, username, _from_stdin() if password_stdin else password)


def _log_in(session: Session, name: str, username: str | None, password: str | None) -> None:
    from oci.auth.credential import Credentials
    from oci.cli.registries import settings_from
    from oci.registry.login import check, keep

    place, helpers = _place(session), _helpers(session)
    user = _ask_user(session, name) if username is None else username
    if not user or ":" in user or not user.isprintable():
        raise UsageError(f"--username {show(user)!r}: a user name is not empty, and has no ':' in it (RFC 7617)")
    if password is None:
        if not sys.stdin.isatty():
            raise UsageError("the password is missing, and there is no terminal to ask for it; use --password-stdin")
        from oci.cli.passwords import ask_password

        password = ask_password(user)
    if not password:
        raise UsageError("the password is empty")
    host = name.partition("/")[0]
    credentials = Credentials(username=user, password=password)
    check(host, credentials, settings_from(session, host))
    where = keep(place, name, credentials, helpers, order=_order(session))
    print(f"logged in to {name}")
    session.note(f"the credentials are kept by {where}" if where != place.path else f"the credentials are in {where}")


def logout(
    context: typer.Context,
    registry: Annotated[str | None, options.Host] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Log out of every registry in the file.")] = False,
    authfile: Annotated[
        str | None,
        typer.Option(
            "--authfile",
            metavar="FILE",
            help="Where credentials are kept; default: as podman and docker have it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Log out of a registry: forget the credentials for it.

    They are removed from the file that login would write to, or from the credential helper that this file names.

    \b
    Example:
      ocikit logout quay.io
      ocikit logout --all
    """
    from oci.registry.login import forget, forget_all

    session = Session.of(context)
    if authfile is not None:
        session.access["authfile"] = authfile
    if all_:
        if registry is not None:
            raise UsageError("logout takes a HOST or --all, not both")
        count = forget_all(_place(session), _helpers(session))
        print(f"logged out of {count} {'registry' if count == 1 else 'registries'}")
        return
    if registry is None:
        raise UsageError("log out of which registry? give a HOST, or --all")
    name = parse_registry(registry)
    if not forget(_place(session), name, _helpers(session), order=_order(session)):
        from oci.errors import ConfigurationError

        raise ConfigurationError(_place(session).path, f"not logged in to {name}{_elsewhere(session, name)}")
    print(f"logged out of {name}")
    elsewhere = _elsewhere(session, name)
    if elsewhere:
        session.warn(f"logged out of {name} here{elsewhere}")


def parse_registry(text: str) -> str:
    """Read HOST[:PORT] or HOST[:PORT]/PART of repositories' names; of a URL, as docker takes one, the host counts."""
    for scheme in ("https://", "http://", "docker://"):
        if text.startswith(scheme):
            bare = text.removeprefix(scheme)
            text = bare.rstrip("/") if scheme == "docker://" else bare.partition("/")[0]
    host, slash, part = text.partition("/")
    if not is_host(host) or (slash and not is_repository(part)):
        if "@" in text:  # what stands before it may be a password
            host = show(text.rpartition("@")[2])
            raise UsageError(f"'…@{host}': a login is for HOST[:PORT], not for a digest; the user goes to --username")
        raise UsageError(
            f"{show(text)!r}: expected HOST[:PORT], or HOST[:PORT]/PART; a login is not for a tag or digest"
        )
    return f"{host.lower()}{slash}{part}"


def _print_login(session: Session, name: str) -> None:
    from oci.errors import ConfigurationError

    host, _, part = name.partition("/")
    found = _files(session).find(host, part or None)
    if found is None:
        raise ConfigurationError(_place(session).path, f"not logged in to {name}")
    print(output.printable(found.username or "<token>"))


def _elsewhere(session: Session, name: str) -> str:
    """Where credentials for the name are all the same, in words."""
    host, _, part = name.partition("/")
    found = _files(session).locate(host, part or None)
    return "" if found is None else f"; there are credentials for it in {found[0]}"


def _place(session: Session) -> Place:
    from oci.auth.credential_files import place_to_write

    return place_to_write(session.environ, uid=os.getuid(), authfile=session.access.get("authfile"))


def _files(session: Session) -> CredentialFiles:
    from oci.auth.credential_files import places_to_read
    from oci.auth.credentials import CredentialFiles

    places = places_to_read(session.environ, uid=os.getuid(), authfile=session.access.get("authfile"))
    places = tuple(place.replace(required=False) for place in places)
    return CredentialFiles(places, _helpers(session), order=_order(session), warn=session.warn)


def _helpers(session: Session) -> Helpers:
    from oci.auth.credential_helpers import Helpers

    return Helpers(environ=session.environ)


def _order(session: Session) -> tuple[str, ...]:
    """`credential-helpers` of registries.conf."""
    from oci.cli.registries import settings_from

    conf = settings_from(session, None).registries
    return () if conf is None else conf.credential_helpers


def _from_stdin() -> str:
    raw = sys.stdin.buffer.read(MAX_PASSWORD + 1)
    if len(raw) > MAX_PASSWORD:
        raise UsageError(f"--password-stdin: more than {MAX_PASSWORD} bytes")
    text = raw.decode("utf-8", "surrogateescape")
    return text.removesuffix("\n").removesuffix("\r")


def _ask_user(session: Session, name: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("--username is missing, and there is no terminal to ask for it")
    host, _, part = name.partition("/")
    before = _files(session).find(host, part or None)
    known = before.username if before is not None else ""
    print(f"Username{f' ({output.printable(known)})' if known else ''}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or known
