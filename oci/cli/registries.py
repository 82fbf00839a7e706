"""What commands say to registries: their options, the environment, the files of this machine → `Settings`.

A command of the table that asks registries is a `RegistryCommand`: it takes the options without having them among its
own parameters, and they wait in the session until a reference leads to a registry. Only then is anything of
oci.registry imported, and a file read.

`--creds` speaks for one registry, the one that the command line names; no mirror and no other host is told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oci.cli.command import PlainCommand, convert_cheaply
from oci.cli.failures import UsageError
from oci.cli.session import Session
from oci.errors import show

if TYPE_CHECKING:
    from oci.auth.credential import Credentials, CredentialSource
    from oci.http.settings import Proxies, TlsSettings
    from oci.http.warnings import Heard
    from oci.registry.registries_conf import RegistriesConf
    from oci.registry.settings import Settings
    from oci.transports.registries import Opener

__all__ = [
    "CopyCommand",
    "ExecCommand",
    "LayersCommand",
    "RegistryCommand",
    "RunCommand",
    "known_conf",
    "opener",
    "settings_from",
]

# Where to look unless something else is said, in this order (containers-certs.d(5), containers-registries.conf(5)).
SYSTEM_CERT_DIRS = ("/etc/containers/certs.d", "/etc/docker/certs.d")
SYSTEM_CONF = "/etc/containers/registries.conf"

_TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as Go's flags have it, and so skopeo
_FALSE = ("0", "f", "F", "FALSE", "false", "False")
_BARE = frozenset(("--tls-verify", "--src-tls-verify", "--dest-tls-verify"))  # these alone mean true


def _note(context: typer.Context, parameter: typer.CallbackParam, value: Any) -> Any:
    """Keep what an option says; the session's settings are made of it when they are needed."""
    if value not in (None, False):
        assert parameter.name is not None
        Session.of(context).access[parameter.name] = str(value)
    return value


def _option(name: str, metavar: str, help_: str) -> Any:
    return typer.Option(
        name, metavar=metavar, help=help_, callback=_note, expose_value=False, show_default=False, hidden=False
    )


_VERIFY = "true|false"


def _registry(
    creds: Annotated[
        str | None, _option("--creds", "USER[:PASS]", "Who to be at the registry; a password left out is asked for.")
    ] = None,
    authfile: Annotated[
        str | None, _option("--authfile", "FILE", "Where credentials are kept; default: as podman and docker have it.")
    ] = None,
    tls_verify: Annotated[
        str | None,
        _option("--tls-verify", _VERIFY, "false: take any certificate, and plain http; default: only on this machine."),
    ] = None,
    cert_dir: Annotated[
        str | None,
        _option("--cert-dir", "DIR", "The registry's own certificates: *.crt to trust, *.cert and *.key to show."),
    ] = None,
    registries_conf: Annotated[
        str | None,
        _option("--registries-conf", "FILE", "This registries.conf alone, in place of the system's and the user's."),
    ] = None,
) -> None:
    """Never called: typer makes the options from it."""


def _layers(
    foreign_layers: Annotated[
        bool,
        typer.Option(
            "--foreign-layers",
            help="Fetch layers that a registry lacks from the addresses in their descriptors.",
            callback=_note,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Never called, as above."""


def _ends(
    src_creds: Annotated[str | None, _option("--src-creds", "USER[:PASS]", "--creds for SRC alone.")] = None,
    dest_creds: Annotated[str | None, _option("--dest-creds", "USER[:PASS]", "--creds for DST alone.")] = None,
    src_authfile: Annotated[str | None, _option("--src-authfile", "FILE", "--authfile for SRC alone.")] = None,
    dest_authfile: Annotated[str | None, _option("--dest-authfile", "FILE", "--authfile for DST alone.")] = None,
    src_tls_verify: Annotated[str | None, _option("--src-tls-verify", _VERIFY, "--tls-verify for SRC alone.")] = None,
    dest_tls_verify: Annotated[str | None, _option("--dest-tls-verify", _VERIFY, "--tls-verify for DST alone.")] = None,
    src_cert_dir: Annotated[str | None, _option("--src-cert-dir", "DIR", "--cert-dir for SRC alone.")] = None,
    dest_cert_dir: Annotated[str | None, _option("--dest-cert-dir", "DIR", "--cert-dir for DST alone.")] = None,
) -> None:
    """Never called, as above."""


@cache
def _parameters(function: Any) -> tuple[Any, ...]:
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return tuple(parameter for parameter in typer.main.get_command(app).params if parameter.name != "help")


class RegistryCommand(PlainCommand):
    """A command with the options of whoever asks a registry; its help lists them by themselves.

    They are made only where they are wanted: typer takes some milliseconds for it, and most images are on disk.
    """

    functions: tuple[Any, ...] = (_registry,)
    _plain = False  # no word of this command line can be one of these options

    @cached_property
    def registry_params(self) -> list[Any]:
        return [convert_cheaply(parameter) for function in self.functions for parameter in _parameters(function)]

    def get_params(self, ctx: Any) -> list[Any]:
        own = super().get_params(ctx)
        return own if self._plain else [*own, *self.registry_params]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let `--tls-verify` alone mean true: an option whose value may be left out, as skopeo has it."""
        own = {option for parameter in self.params for option in (*parameter.opts, *parameter.secondary_opts)}
        self._plain = not ctx.resilient_parsing and all(
            word.partition("=")[0] in own for word in args if word.startswith("--") and word != "--"
        )
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [f"{a}=true" if a in _BARE and i < end else a for i, a in enumerate(args)])

    def format_options(self, ctx: Any, formatter: Any) -> None:
        self._plain = False
        sections: dict[str, list[Any]] = {"Arguments": [], "Options": [], "Options for registries": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                ours = parameter in self.registry_params
                plain = "Arguments" if parameter.param_type_name == "argument" else "Options"
                sections["Options for registries" if ours else plain].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class LayersCommand(RegistryCommand):
    """A command that may read layers from a registry."""

    functions = (_registry, _layers)


class ExecCommand(PlainCommand):
    """A command whose words behind its first argument belong to another program, whatever they look like."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_interspersed_args = False


class RunCommand(LayersCommand):
    """The same for one that may read an image from a registry."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_interspersed_args = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        self._plain = False
        return PlainCommand.parse_args(self, ctx, args)  # `--tls-verify` alone may be one of that program's


class CopyCommand(RegistryCommand):
    """A command with a registry at either end."""

    functions = (_registry, _layers, _ends)


def opener(session: Session, registry: str | None, side: str = "") -> Opener:
    """Give what opens references to this registry, or to any; `side` is "src" or "dest" where there are two ends."""
    from oci.transports.registries import opener as opener_of

    return opener_of(settings_from(session, registry, side))


def settings_from(session: Session, registry: str | None, side: str = "") -> Settings:
    """Gather all that is said about how to ask this registry (HOST[:PORT]), or any. UsageError, ConfigurationError."""
    from oci import __version__
    from oci.registry.settings import Settings

    verify = _verify(session, side)
    known = _Known.of(session)
    made = known.settings.get((side, registry))
    if made is None:
        made = known.settings[side, registry] = Settings(
            tls=_tls(session, side, verify is not False),
            proxies=_proxies(session),
            credentials=_credentials(session, registry, side, known),
            registries=known.conf,
            plain_http=None if verify is None else not verify,
            user_agent=f"ocikit/{__version__}",
            foreign_urls="foreign_layers" in session.access,
            warn=session.warn,
            heard=known.heard,
        )
    return made


def known_conf(session: Session) -> RegistriesConf:
    """What registries.conf says, read once."""
    return _Known.of(session).conf


class _Known:
    """What this run has read and asked for: registries.conf once, a password once, and the settings made of it."""

    def __init__(self, conf: RegistriesConf, heard: Heard) -> None:
        self.conf, self.heard = conf, heard
        self.settings: dict[tuple[str, str | None], Settings] = {}  # by end of the command and registry
        self.registries: dict[str, str] = {}  # the one registry that `--creds` and its like are for
        self.credentials: dict[str, Credentials] = {}  # what these options say

    @classmethod
    def of(cls, session: Session) -> _Known:
        if session.known is None:
            from oci.http.warnings import Heard
            from oci.registry.registries_conf import RegistriesConf

            conf = RegistriesConf.read(_conf_files(session))
            for note in conf.notes:
                session.warn(note)
            session.known = cls(conf, Heard())
        found: _Known = session.known
        return found


def _said(session: Session, side: str, name: str) -> tuple[str, str | None]:
    """What an option says for this end of the command, and how it is spelt; the more special one counts."""
    for key in (f"{side}_{name}", name) if side else (name,):
        if key in session.access:
            return f"--{key.replace('_', '-')}", session.access[key]
    return f"--{name.replace('_', '-')}", None


def _verify(session: Session, side: str) -> bool | None:
    option, text = _said(session, side, "tls_verify")
    if text is None:
        return None
    if text not in _TRUE + _FALSE:
        raise UsageError(f"{option} {show(text)!r}: expected true or false")
    return text in _TRUE


def _tls(session: Session, side: str, verify: bool) -> TlsSettings:
    from oci.auth.credential_files import config_home
    from oci.http.settings import TlsSettings

    environ = session.environ
    home = config_home(environ)
    option, folder = _said(session, side, "cert_dir")
    if folder is not None and not os.path.isdir(folder):
        raise UsageError(f"{option} {show(folder)!r}: no such directory")
    return TlsSettings(
        verify=verify,
        ca_file=environ.get("SSL_CERT_FILE") or None,
        ca_path=environ.get("SSL_CERT_DIR") or None,
        cert_dirs=((f"{home}/containers/certs.d",) if home else ()) + SYSTEM_CERT_DIRS,
        cert_dir=folder,
    )


def _credentials(session: Session, registry: str | None, side: str, known: _Known) -> CredentialSource:
    from oci.auth.credential_files import places_to_read
    from oci.auth.credential_helpers import Helpers
    from oci.auth.credentials import CredentialFiles, Fixed

    option, words = _said(session, side, "creds")
    if words is None:
        _, authfile = _said(session, side, "authfile")
        places = places_to_read(session.environ, uid=session.uid, authfile=authfile)
        order = known.conf.credential_helpers
        return CredentialFiles(places, Helpers(environ=session.environ), order=order, warn=session.warn)
    if registry is None:
        raise UsageError(f"{option} is for one registry, and here may be several; use --authfile, or `ocikit login`")
    before = known.registries.setdefault(option, registry)
    if before != registry:
        raise UsageError(
            f"{option} is for one registry, and here are two ({before} and {registry}); "
            "use --authfile, or `ocikit login`"
        )
    if option not in known.credentials:
        known.credentials[option] = _user_and_password(option, words)
    return Fixed(registry, known.credentials[option])


def _user_and_password(option: str, words: str) -> Credentials:
    from oci.auth.credential import Credentials

    user, colon, password = words.partition(":")
    if not user:
        raise UsageError(f"{option}: expected USER or USER:PASSWORD")
    if not colon:
        if not sys.stdin.isatty():
            raise UsageError(f"{option}: the password is missing, and there is no terminal to ask for it")
        from oci.cli.passwords import ask_password

        password = ask_password(user)
    return Credentials(username=user, password=password)


def _proxies(session: Session) -> Proxies:
    from oci.http.settings import Proxies

    def either(name: str) -> str | None:
        return session.environ.get(name) or session.environ.get(name.lower()) or None

    return Proxies(http=either("HTTP_PROXY"), https=either("HTTPS_PROXY"), no_proxy=either("NO_PROXY") or "")


def _conf_files(session: Session) -> list[str]:
    """The files of registries.conf in the order in which they count, containers-registries.conf.d(5).

    One that is named stands alone. A user's own takes the place of the system's, whose drop-ins then don't count.
    """
    from oci.auth.credential_files import config_home

    named = session.access.get("registries_conf") or session.environ.get("CONTAINERS_REGISTRIES_CONF")
    if named:
        return [named]
    home = config_home(session.environ)
    own = f"{home}/containers/registries.conf" if home else ""
    files = [own] if own and os.path.exists(own) else []
    if not files:
        files = [SYSTEM_CONF] if os.path.exists(SYSTEM_CONF) else []
        files += _drop_ins(f"{SYSTEM_CONF}.d")
    return files + (list(_drop_ins(f"{own}.d")) if own else [])


def _drop_ins(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for name in names:
        if name.endswith(".conf") and os.path.isfile(f"{folder}/{name}"):
            yield f"{folder}/{name}"
