"""The cache folder. Light: the command line asks for it before anything is imported."""

import os


def cache_path() -> str:
    """`EDITCORE_CACHE`, else `editcore` in the cache folder of the user (XDG)."""
    named = os.environ.get("EDITCORE_CACHE")
    if named:
        return os.path.expanduser(named)
    # XDG: a relative path in the variable is to be ignored.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(xdg if os.path.isabs(xdg) else os.path.expanduser("~/.cache"), "editcore")
