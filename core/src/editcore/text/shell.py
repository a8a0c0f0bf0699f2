"""Names inside a command that a message recommends, so that it can be pasted whatever they hold."""

import shlex


def quoted(name: object) -> str:
    """A path or a text as one word of a shell."""
    return shlex.quote(str(name))
