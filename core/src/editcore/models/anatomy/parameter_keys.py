"""One tensor, two names: the parameter's in memory and the key in the files of the checkpoint."""

from collections.abc import Collection, Iterable, Sequence

from editcore_hooks import RefusedFileError


def counterpart(name: str, among: Collection[str], prefixes: Sequence[str], partners: Iterable[str] = ()) -> str:
    """The one of `among` that means the same tensor as `name`.

    In this order: the name itself; the name with a family prefix taken off, put on or exchanged; then the same for
    the `partners`, names that share its storage (a tied head is not written to the files). Raises `RefusedFileError`
    when none fits or several do.
    """
    for candidate in (name, *partners):
        if candidate in among:
            return candidate
        found = sorted(_aliases(candidate, prefixes) & set(among))
        if len(found) > 1:
            raise RefusedFileError(
                f"the checkpoint names {name} twice: {', '.join(found)}", hint="use one that names it once"
            )
        if found:
            return found[0]
    raise RefusedFileError(f"no tensor here corresponds to {name}", hint="compare config.json with the weights' keys")


def _aliases(name: str, prefixes: Sequence[str]) -> set[str]:
    stems = {name, *(name.removeprefix(prefix) for prefix in prefixes)}
    return {prefix + stem for stem in stems for prefix in ("", *prefixes)}
