"""Find the words that are out: `python -m upkeep.words [FILE ...]`, all tracked text without arguments."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from upkeep.distributions import ROOT
from upkeep.prose import prose

_LISTS: Final = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
INSTEAD: Final[dict[str, str]] = _LISTS["instead"]
_SUFFIXES: Final = {".py", ".md", ".yaml", ".yml", ".toml", ".j2", ".html"}
_SKIPPED: Final = ("upkeep/words.toml", "tests/upkeep/test_words.py")


def _pattern(words: str) -> str:
    """Whole words; a dot or a dash after them is part of a name, as in `said-5` or `said.wav`."""
    return r"\s+".join(map(re.escape, words.split()))


_OUT: Final = re.compile(rf"(?<![\w.`-])({'|'.join(map(_pattern, INSTEAD))})(?![\w`-])", re.IGNORECASE)
_ALLOWED: Final = {
    word: re.compile("|".join(map(_pattern, phrases)), re.IGNORECASE) for word, phrases in _LISTS["allowed"].items()
}


def found(text: str) -> Iterator[tuple[int, str]]:
    """Pairs of a line, counted from 0, and a word or phrase that is out."""
    for match in _OUT.finditer(text):
        word = " ".join(match[1].lower().split())
        allowed = _ALLOWED.get(word)
        if match[1].endswith("None") or (allowed and _covered(allowed, text, match)):
            continue
        yield text.count("\n", 0, match.start()), word


def _covered(allowed: re.Pattern[str], text: str, match: re.Match[str]) -> bool:
    return any(near.start() <= match.start() and match.end() <= near.end() for near in allowed.finditer(text))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and name not in _SKIPPED and (ROOT / name).is_file()]


def main(arguments: list[str]) -> int:
    paths = [Path(name).resolve() for name in arguments] or tracked()
    count = 0
    for path in (path for path in paths if path.suffix in _SUFFIXES or path.name == "Makefile"):
        for line, text in prose(path):
            if " ".join(text.split()) in INSTEAD:  # nothing but the phrase: a value, such as the name of a protocol
                continue
            for offset, word in found(text):
                count += 1
                name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
                print(f"{name}:{line + offset}: write {INSTEAD[word]!r} instead of {word!r}", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
