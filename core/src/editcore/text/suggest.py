"""Did you mean …?"""

from collections.abc import Iterable


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """`did you mean 'x'?`, or None when nothing that is known comes near."""
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else None


def suggestion_or_list(name: str, known: Iterable[str]) -> str:
    """The suggestion, or else the names to choose from."""
    names = sorted(known)
    return suggestion(name, names) or (
        f"choose one of {', '.join(names)}" if names else "install a plugin that offers one"
    )
