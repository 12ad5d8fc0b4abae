"""The command line. The exit code is the verdict: 0 pass, 1 a gate failed, 2 bad input, 70 our own fault."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import UserError
from common.offline import silence_telemetry
from pocketvec import (
    HERE,
    commands,
    comparing,
    driving,
    options,
    packing,
    plan_view,
    recommending,
    synthesis,
)

BAD_INPUT = 2
INTERNAL_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; every error a user can cause becomes one line on stderr and exit code 2."""
    silence_telemetry()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries warn about their own internals; -W shows them
    words = sys.argv[1:] if arguments is None else arguments
    given = build_parser().parse_args(words)
    given.command_line = shlex.join(["pocketvec", *words])
    try:
        return given.handler(given)  # type: ignore[no-any-return]
    except UserError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        again = "; start it again to continue" if given.command in ("run", "train", "device") else ""
        return _complain(f"interrupted, and what was half written is removed{again}")
    except OSError as error:
        if error.errno is None:
            raise
        return _complain(f"{error.filename or given.command}: {os.strerror(error.errno).lower()}")


def entry() -> None:
    """Console-script entry point: SIGTERM ends a command as Ctrl-C does, a fault of ours exits with 70."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = main()
    except Exception:  # not 1, which says that a gate failed
        traceback.print_exc()
        code = INTERNAL_ERROR
    sys.exit(code)


def _complain(message: str) -> int:
    sys.stderr.write(f"pocketvec: error: {message}\n")
    return BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="pocketvec",
        description="Fine-tune, export, quantise, benchmark and gate sentence-embedding models for phones.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (text, add_options) in COMMANDS.items():
        command = subparsers.add_parser(name, help=text, description=text, formatter_class=_Help)
        command.set_defaults(handler=getattr(commands, name))
        add_options(command)
    return parser


class _Help(argparse.HelpFormatter):
    """Shows defaults as one would type them, and the bundled files by name."""

    def _get_help_string(self, action: argparse.Action) -> str:
        default = action.default
        if default in (None, (), [], False, argparse.SUPPRESS):
            return action.help or ""
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        if shown.startswith(str(HERE)):
            shown = f"the bundled {Path(shown).name}"
        return f"{action.help} (default: {shown})"


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "run": ("train, merge, export, quantise, bench and gate in one go", options.run),
    "train": ("LoRA + Matryoshka tuning, merged into a checkpoint folder", options.train),
    "export": ("a model folder to fp32 artifacts, one per dimension", options.export),
    "quantize": ("fp32 artifacts to smaller ones", options.quantize),
    "bench": ("measure artifacts and gate them: report.json, .md, .html, junit.xml", options.bench),
    "device": (driving.TEXT, driving.add_options),
    "gate": ("hold a report against limits; exit 0, 1 or 2", options.gate),
    "compare": ("a report against an earlier one; exit 0, 1 or 2", comparing.add_options),
    "recommend": ("name the profile to ship, and why", recommending.add_options),
    "inspect": ("check an artifact's files and show what it is; embed a text", options.inspect),
    "lint": ("name an artifact's structural faults without running it; exit 0, 1 or 2", options.lint),
    "pack": (packing.TEXT, packing.add_options),
    "plan": (plan_view.TEXT, plan_view.add_options),
    "synth": (synthesis.TEXT, synthesis.add_options),
}
"""What each command is for and its options; the function of its name in `commands` does the work."""
