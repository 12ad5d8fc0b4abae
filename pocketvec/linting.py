"""`pocketvec lint`: structural faults of artifacts, a line each, and all of them as JSON at the end."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

FAULTY = 1


def lint(given: argparse.Namespace) -> int:
    """Look at each artifact without running it; exit 1 when one has a fault."""
    from export.artifact import open_artifact
    from export.lint.examine import examine

    results = {}
    for path in given.artifacts:
        name = str(path)
        result = examine(open_artifact(path))
        results[name] = result
        for fault in result.faults:
            sys.stdout.write(f"{name}: {fault.name}: {fault.evidence}\n")
        for line in result.unchecked:
            sys.stdout.write(f"{name}: not checked: {line}\n")
        if not result.faults:
            sys.stdout.write(f"{name}: no structural fault\n")
    faulty = {
        name: [asdict(one) for one in result.faults] for name, result in results.items() if result.faults
    }
    verdict = {
        "verdict": "fail" if faulty else "pass",
        "faults": faulty,
        "unchecked": {name: result.unchecked for name, result in results.items() if result.unchecked},
    }
    sys.stdout.write(json.dumps(verdict, ensure_ascii=False) + "\n")
    return FAULTY if faulty else 0
