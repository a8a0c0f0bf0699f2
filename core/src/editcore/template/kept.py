"""The template as a git repository with a tag for each version of editcore, which `copier update` needs."""

import filecmp
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

from editcore.assets.folder import cache_path
from editcore_hooks import UsageError

SHIPPED: Final = Path(__file__).parents[1] / "plugin_template"
"""The folder `plugin_template` of the repository: a link in a checkout, a copy in a wheel."""
_AUTHOR: Final = ("-c", "user.name=editcore", "-c", "user.email=editcore@localhost", "-c", "commit.gpgsign=false")


def kept_template(version: str) -> tuple[Path, str]:
    """The repository in the cache folder, with the shipped template in it, and the tag of that.

    A template that changed while the version stayed, as in a checkout, gets a tag `v1.2.post1` of its own. Raises
    `UsageError` without git.
    """
    if shutil.which("git") is None:
        raise UsageError("git is not installed", hint="install git; versions of the template are told apart by it")
    folder = Path(cache_path()) / "plugin_template"
    if not (folder / ".git").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        git(folder, "init", "--quiet", "--initial-branch", "main")
    tags = _tags(folder, version)
    if tags and _same(SHIPPED, folder):
        return folder, tags[-1]
    tag = f"v{version}" if not tags else f"v{version}.post{len(tags)}"
    for old in folder.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    git(folder, "add", "--all", "--force")
    git(folder, *_AUTHOR, "commit", "--quiet", "--allow-empty", "--message", f"The template of editcore {version}")
    git(folder, "tag", tag)
    return folder, tag


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder` and return its output. Raises `UsageError` with its message."""
    # a repository that this process was started in, such as by a hook, must not be meant
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()
        raise UsageError(f"git {arguments[0]} failed in {folder}: {reason[-1] if reason else done.returncode}")
    return done.stdout


def _tags(folder: Path, version: str) -> list[str]:
    """The tags of this version, oldest first; only the last is that of the files in the folder, or none is."""
    found = []
    for tag in git(folder, "tag").split():
        try:
            one = Version(tag.removeprefix("v"))
        except InvalidVersion:
            continue
        if one.base_version == Version(version).base_version:
            found.append((one, tag))
    return [tag for _, tag in sorted(found)]


def _same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, git's own aside."""
    names = [{str(path.relative_to(root)) for path in _files(root)} for root in (one, other)]
    return names[0] == names[1] and not filecmp.cmpfiles(one, other, names[0], shallow=False)[1]


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).parts[0] != ".git"]
