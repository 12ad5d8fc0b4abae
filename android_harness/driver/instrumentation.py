"""What `am instrument -w` prints, and whether the run it tells of ended well."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from common.errors import UserError

RESULT_OK = -1
"""android.app.Activity.RESULT_OK, which an instrumentation ends with when all is well."""
FIELD = re.compile(r"INSTRUMENTATION_(RESULT|STATUS): ([^=]+)=(.*)")
CODE = re.compile(r"INSTRUMENTATION_CODE: (-?\d+)")
FAILED = re.compile(r"INSTRUMENTATION_(?:FAILED|ABORTED): (.*)")
ERROR = re.compile(r"(?:Error|Exception|java\.\S+Exception|android\.util\.AndroidException): ?(.*)")


@dataclass(frozen=True)
class Instrumentation:
    """code: how it ended, None when it says nothing of its end. results: what it handed back, by key.

    failure: what `am` itself says went wrong.
    """

    code: int | None
    results: dict[str, str] = field(default_factory=dict)
    failure: str = ""


def parse_instrumentation(text: str) -> Instrumentation:
    """Read the lines of `am instrument -w`; a value runs on until the next line that begins with a mark."""
    code, failure, results, key = None, "", {}, None
    for line in text.splitlines():
        if found := FIELD.fullmatch(line):
            key = found[2] if found[1] == "RESULT" else None
            if key:
                results[key] = found[3]
        elif found := CODE.fullmatch(line.strip()):
            code, key = int(found[1]), None
        elif found := FAILED.match(line):
            failure, key = found[1], None
        elif line.startswith("INSTRUMENTATION_"):
            key = None
        elif key:
            results[key] += f"\n{line}"
        elif (found := ERROR.match(line)) and not failure:
            failure = found[1]
    return Instrumentation(code, results, failure)


def check_instrumentation(text: str, place: str) -> Instrumentation:
    """The same for a run that must have ended well. Raises UserError with what it says otherwise."""
    found = parse_instrumentation(text)
    crash = found.results.get("shortMsg", "")
    if crash:
        details = found.results.get("longMsg", "").splitlines()
        raise UserError(f"{place}: the app crashed: {crash} {' '.join(details[:1])}".rstrip())
    if error := found.results.get("error", ""):
        raise UserError(f"{place}: the app says: {error.splitlines()[0]}")
    if found.failure:
        raise UserError(f"{place}: the app did not run: {found.failure}")
    if found.code != RESULT_OK:
        ended = "without a word" if found.code is None else f"with code {found.code}"
        raise UserError(f"{place}: the app ended {ended}")
    return found
