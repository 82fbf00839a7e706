"""A password, asked for on the terminal."""

from __future__ import annotations

from oci.errors import show

__all__ = ["ask_password"]


def ask_password(user: str) -> str:
    """Ask for a user's password; it is not shown. No answer (Ctrl-D) is an empty one."""
    import getpass

    try:
        return getpass.getpass(f"Password of {show(user)}: ")
    except EOFError:
        return ""
