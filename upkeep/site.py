"""The documentation as a site: `python -m upkeep.site` writes build/site, without network and without warnings.

The pages keep their places in the repository, so that every link between them leads where it does there. Pages of
methods and of every other kind of plugin are made from the classes. Search works where a server gives the files out,
`python -m http.server --directory build/site`, without network too.
"""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from upkeep.distributions import ROOT, distributions
from upkeep.reference import kind_page, method_page

BUILD: Final = ROOT / "build"
PAGES: Final = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "SECURITY.md", "RELEASING.md", "LICENSE",
    "docs/*", "hooks/README.md", "core/README.md", "plugins/*/README.md", "changelog.d/README.md", "checks/results.md",
    "benchmarks/**/*.md", "docs/how-to/*.md",
    "benchmarks/results/*.csv", "benchmarks/**/*.png", "benchmarks/**/*.svg", "plugins/*/*.md",
)  # fmt: skip
HOW_TO: Final = tuple(
    f"docs/how-to/{name}.md" for name in ("chat-model", "many-facts", "take-back", "serve", "gate", "large-model")
)
START: Final = tuple(
    f"docs/{name}.md" for name in ("tutorial", "walkthrough", "models", "patches", "evaluation", "easyedit")
)
AUTHORS: Final = ("docs/plugins.md", "docs/conformance.md", "docs/catalogue.md", "docs/compatibility.md")
REFERENCE: Final = ("docs/commands.md", "docs/hooks.md", "docs/patch-format.md")
PROJECT: Final = ("docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
KINDS: Final = ("locator", "transform", "metric", "dataset", "patch kind", "architecture")


def pages() -> dict[str, str | Path]:
    """Every page by its place: a file of the repository, or a text that is made here."""
    found: dict[str, str | Path] = {}
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                found[path.relative_to(ROOT).as_posix()] = path
    found.update(generated())
    return found


def generated() -> dict[str, str]:
    """The pages of methods and of the other kinds."""
    from editcore.plugins.registry import registry

    known, homes = registry(), {one.name: one.folder for one in distributions()}
    made: dict[str, str] = {}
    for catalogue in known.catalogues:
        rows = [
            (catalogue.written(cls), cls, plugin.record.distribution)
            for cls, plugin in sorted(catalogue.offers(), key=lambda pair: pair[0].name)
            if plugin.record.distribution in homes
        ]
        if catalogue.kind == "method":
            made |= {
                f"methods/{name}.md": method_page(cls, distribution, f"{homes[distribution]}/README.md")
                for name, cls, distribution in rows
            }
        else:
            made[f"reference/{catalogue.kind.replace(' ', '-')}s.md"] = kind_page(catalogue.kind, rows)
    return made


def configuration(source: Path, target: Path, made: dict[str, str | Path]) -> dict[str, Any]:
    """The settings of mkdocs. Fonts and scripts are those of the package: nothing is fetched when a page is read."""
    others = sorted(
        name for name in made if name.startswith("docs/") and name.endswith(".md")
        and name not in {*START, *HOW_TO, *AUTHORS, *REFERENCE, *PROJECT}
    )  # fmt: skip
    tail = [name for name in made if name.startswith("reference/")]
    return {
        "site_name": "editcore",
        "docs_dir": str(source),
        "site_dir": str(target),
        "use_directory_urls": False,
        "strict": True,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.instant", "navigation.top", "content.code.copy", "search.highlight"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default",
                 "toggle": {"icon": "material/weather-night", "name": "Dark"}},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate",
                 "toggle": {"icon": "material/weather-sunny", "name": "Light"}},
            ],
        },
        "plugins": ["search"],
        "markdown_extensions": ["tables", "fenced_code", "attr_list", "md_in_html", {"toc": {"permalink": True}},
                                "pymdownx.highlight", "pymdownx.superfences"],
        "validation": {"links": {"anchors": "warn", "unrecognized_links": "warn", "not_found": "warn"}},
        "nav": [
            {"Start": ["README.md", *_there(START, made)]},
            {"How to": [*_there(HOW_TO, made), *others]},
            {"Methods": sorted(name for name in made if name.startswith("methods/"))},
            {"Write a plugin": _there(AUTHORS, made)},
            {"Reference": [*_there(REFERENCE, made), *sorted(tail)]},
            {"Project": _there(PROJECT, made)},
        ],
    }  # fmt: skip


def _there(names: tuple[str, ...], made: dict[str, str | Path]) -> list[str]:
    return [name for name in names if name in made]


def write(source: Path, made: dict[str, str | Path]) -> None:
    """Put every page in its place below `source`."""
    for name, content in made.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copy(content, path)
        else:
            path.write_text(content, "utf-8")


def build(folder: Path = BUILD) -> list[str]:
    """Write the site into `folder`/site; returns its warnings."""
    from mkdocs.commands.build import build as run
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    source, target = folder / "site-source", folder / "site"
    shutil.rmtree(source, ignore_errors=True)
    made = pages()
    write(source, made)
    file = folder / "mkdocs.yml"
    file.write_text(yaml.safe_dump(configuration(source, target, made), sort_keys=False), "utf-8")
    heard = _Heard()
    logger = logging.getLogger("mkdocs")
    logger.addHandler(heard)
    try:
        run(load_config(str(file)))
    except Abort as error:
        heard.lines.append(str(error))
    finally:
        logger.removeHandler(heard)
    return heard.lines


class _Heard(logging.Handler):
    """Keeps warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def addresses(folder: Path) -> Iterator[str]:
    """What a page of the site would fetch from elsewhere."""
    import re

    for page in folder.rglob("*.html"):
        for found in re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text("utf-8")):
            yield f"{page.relative_to(folder)}: {found}"


def main() -> int:
    warnings = build()
    fetched = sorted(set(addresses(BUILD / "site")))
    for line in (*warnings, *fetched):
        print(f"error: {line}", file=sys.stderr)
    count = len(list((BUILD / "site").rglob("*.html")))
    print(json.dumps({"pages": count, "warnings": len(warnings), "fetched": len(fetched)}))
    return 1 if warnings or fetched else 0


if __name__ == "__main__":
    sys.exit(main())
