"""The texts that a delivery writes beside the files: Gradle, Kotlin, XML, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A template of this folder with `values` put in; a value that is missing is an error."""
    environment = Environment(  # noqa: S701  (no HTML; what is put in are checked names and numbers)
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def no_compress(names: list[str]) -> list[str]:
    """What androidResources.noCompress must hold so that these files are stored, without repetition.

    The build tools compare endings of paths, so the ending after the first dot is the narrowest that fits.
    """
    return sorted({name.partition(".")[2] for name in names})
