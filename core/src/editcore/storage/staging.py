"""The hidden place where a folder is made before it gets its name, and the clearing of those that a kill left behind.

A place is a folder `.NAME.<hex>.tmp` beside the name, with what is being made inside it. Its maker holds the writing
lock on the place as long as it lives: a place whose lock is free belongs to nobody any more.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from editcore.storage import durable, lock
from editcore_hooks import EditcoreError


@contextlib.contextmanager
def place_beside(destination: Path) -> Iterator[Path]:
    """A path for the body to make a folder at, on the file system of `destination`; gone after it, with all in it."""
    with contextlib.suppress(OSError):  # what cannot be cleared is no reason to make nothing
        clear_places(destination)
    place = destination.parent / durable.temporary_name(destination.name)
    try:
        place.mkdir(0o700)  # what is made inside may be private
        with lock.writing(place):
            yield place / destination.name
    finally:
        with contextlib.suppress(OSError):  # `clear_places` will find it
            durable.remove_tree(place)


def clear_places(destination: Path) -> tuple[str, ...]:
    """Remove the places beside `destination` that belong to nobody; return their names. Raises `OSError`."""
    removed = []
    places = destination.parent.iterdir() if destination.parent.is_dir() else ()
    for place in sorted(place for place in places if durable.is_temporary(place.name, destination.name)):
        if place.is_symlink() or not place.is_dir():
            continue
        try:
            with lock.writing(place):
                if any(inside.name != destination.name for inside in place.iterdir()):
                    continue  # a place holds what is being made and nothing else: this one is not ours
                durable.remove_tree(place)
        except EditcoreError:  # somebody is at work in it, or was faster
            continue
        removed.append(place.name)
    return tuple(removed)
