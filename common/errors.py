"""The one exception a user can cause; the command line turns it into one line and exit code 2."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, named with its value, the rule it breaks and the place.

    The message is a single line: it is printed after ``pocketvec: error:`` with no traceback. What it quotes
    may come from a foreign file, so nothing in it can steer a terminal.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__("".join(character if character.isprintable() else "?" for character in line))


def missing_extra(extra: str, module: str) -> UserError:
    """The error for an optional dependency that is not installed, with its cure."""
    return UserError(
        f"this step needs the Python package '{module}', which is not installed; "
        f"run: pip install -c constraints.txt -e '.[{extra}]'"
    )
