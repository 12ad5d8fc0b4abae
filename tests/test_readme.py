"""README's tree and commands against what is on the disk."""

import re
import subprocess
from pathlib import Path

import pytest

from pocketvec.cli import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
TREES = ("", "android_harness/")
"""Folders whose README has a tree."""
INDENT = 2


def tree_paths(base: str = "") -> list[str]:
    """Paths of the tree in a folder's README, from the root; a folder ends in a slash."""
    readme = (ROOT / base / "README.md").read_text(encoding="utf-8")
    block = readme.split("## The tree")[1].split("```")[1]
    paths: list[str] = []
    parents: list[str] = []
    for line in filter(str.strip, block.splitlines()):
        depth = (len(line) - len(line.lstrip())) // INDENT
        name = line.split()[0]
        assert len(line.split()) > 1, f"{name} has no description"
        parents = [*parents[:depth], name]
        paths.append(base + "".join(parents))
    return paths


def repository_files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).exists()]


@pytest.mark.parametrize("base", TREES)
def test_every_line_of_the_tree_is_on_the_disk(base: str) -> None:
    assert [path for path in tree_paths(base) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("base", TREES)
def test_every_file_has_a_line_or_lies_in_a_folder_that_stands_for_its_content(base: str) -> None:
    paths = tree_paths(base)
    leaves = [p for p in paths if p.endswith("/") and not any(o != p and o.startswith(p) for o in paths)]
    files = [file for file in repository_files() if file.startswith(base)]
    missing = [f for f in files if f not in paths and not f.startswith(tuple(leaves))]
    assert missing == []


def test_every_command_in_the_readme_is_one_and_every_one_is_in_the_readme() -> None:
    choices = build_parser()._subparsers._group_actions[0].choices  # type: ignore[union-attr]
    assert choices is not None
    named = set(re.findall(r"^pocketvec (\w+)", README, re.MULTILINE))
    assert named == set(choices)


def test_every_option_in_the_readme_exists() -> None:
    parser = build_parser()
    for line in re.findall(r"^pocketvec .*", README, re.MULTILINE):
        parser.parse_args(line.split()[1:])


def test_every_python_file_stays_below_three_hundred_lines() -> None:
    long = [
        f for f in repository_files() if f.endswith(".py") and len((ROOT / f).read_text().splitlines()) > 300
    ]
    assert long == []
