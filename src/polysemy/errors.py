"""The one exception for what a user can mend."""
from __future__ import annotations


class InputError(ValueError):
    """Bad input or wrong use: the message is one line, the command line prints it and exits with 2.

    Say `<name> must be <rule>, got <value>; <what to do>` and raise it where the value enters.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))
