"""The pack command: artifacts in the forms that clients and apps load, and whether such a form is whole."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from export.manifest import ANDROID_ASSETS, CLIENTS, DELIVERIES, PLAY_ASSET_PACK, RAG_SDK

if TYPE_CHECKING:
    from export.artifact import Artifact
    from export.contract import ContractCheck

HOLDS, BROKEN = 0, 1
TEXT = "write what Google's clients or an app's project loads, or check it; exit 0, 1 or 2"
PACK_OPTIONS = {"pack_name": "--pack-name", "delivery": "--delivery", "ram": "--ram"}
"""Options of play-asset-pack, by the name of their value."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `pack`."""
    forms = (*DELIVERIES, *CLIENTS)
    parser.add_argument(
        "paths",
        type=Path,
        nargs="+",
        metavar="path",
        help="artifact folder, several for play-asset-pack; with --check a .tflite, a .task, or a folder, "
        ".apk or .aab",
    )
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--for", dest="client", choices=forms, default=None, help="write what this form needs")
    task.add_argument("--check", choices=forms, default=None, help="exit 1 and say why if it would not load")
    parser.add_argument("--out", type=Path, default=None, help="folder; for mediapipe-task the file")
    pack = parser.add_argument_group("play-asset-pack")
    pack.add_argument("--pack-name", default=None, help="name of the module (default: pocketvec_model)")
    pack.add_argument(
        "--delivery", default=None, help="install-time, fast-follow or on-demand (default: fast-follow)"
    )
    pack.add_argument(
        "--ram",
        action="append",
        default=None,
        metavar="MB=PROFILE",
        help="smallest RAM of phones that get this profile; all but one of several have such a bound "
        "(default: by file size)",
    )


def pack(given: argparse.Namespace) -> int:
    """Write a form and print where and what to know of it, or judge one."""
    form = given.check or given.client
    _refuse_surplus(given, form)
    if given.check is not None:
        return _judge(_check(given.check, given.paths[0]))
    if given.out is None:
        raise UserError(f"--for {form}: say where to with --out")
    from export.artifact import open_artifact

    lines = _write(given, [open_artifact(path) for path in given.paths])
    sys.stdout.write("".join(f"{line}\n" for line in (str(given.out), *lines)))
    return HOLDS


def _refuse_surplus(given: argparse.Namespace, form: str) -> None:
    """Raise UserError for options and paths that this form would leave aside."""
    writes_pack = given.client == PLAY_ASSET_PACK
    for name, option in PACK_OPTIONS.items():
        if getattr(given, name) is not None and not writes_pack:
            raise UserError(f"{option}: only with --for {PLAY_ASSET_PACK}")
    if len(given.paths) > 1 and not writes_pack:
        raise UserError(f"{given.paths[1]}: {form} takes one path")
    if given.check is not None and given.out is not None:
        raise UserError(f"--out {given.out}: --check writes nothing")


def _check(form: str, path: Path) -> ContractCheck:
    if form in DELIVERIES:
        from export.delivery.check import check_android_assets, check_asset_pack

        return check_android_assets(path) if form == ANDROID_ASSETS else check_asset_pack(path)
    from export.contract import check_rag_sdk
    from export.task_bundle import check_task

    return check_rag_sdk(path) if form == RAG_SDK else check_task(path)


def _write(given: argparse.Namespace, artifacts: list[Artifact]) -> list[str]:
    if given.client == ANDROID_ASSETS:
        from export.delivery.android_assets import write_android_assets

        return write_android_assets(artifacts[0], given.out)
    if given.client == PLAY_ASSET_PACK:
        return _write_asset_pack(given, artifacts)
    from export.task_bundle import client_notes, write_rag_sdk, write_task

    write = write_rag_sdk if given.client == RAG_SDK else write_task
    write(artifacts[0], given.out)
    return client_notes(artifacts[0])


def _write_asset_pack(given: argparse.Namespace, artifacts: list[Artifact]) -> list[str]:
    from export.delivery.asset_pack import PackOptions, write_asset_pack
    from export.delivery.tiers import parse_ram

    default = PackOptions()
    options = PackOptions(
        default.name if given.pack_name is None else given.pack_name,
        default.delivery if given.delivery is None else given.delivery,
        parse_ram(given.ram or []),
    )
    return write_asset_pack(artifacts, given.out, options)


def _judge(check: ContractCheck) -> int:
    """Print the faults of a check, what it could not see, and what is worth knowing."""
    lines = [
        *(f"note: {one}" for one in check.notes),
        *(f"fault: {one}" for one in check.faults),
        *(f"unchecked: {one}" for one in check.unchecked),
    ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    if not check.faults and not check.unchecked:
        sys.stdout.write("the contract holds\n")
    return BROKEN if check.faults else HOLDS
