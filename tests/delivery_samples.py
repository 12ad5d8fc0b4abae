"""Small artifacts in form only, and .apk and .aab files with or without what a build can get wrong."""

import json
import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

from export.artifact import Artifact, open_artifact, write_manifest
from export.golden import GoldenText, write_golden
from export.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    ModelIdentity,
    ReferenceScores,
    TokenizerSpec,
    model_file,
)

DIM = 4
LONG = 200


def sample(
    parent: Path,
    name: str = "litert-q4_0-128d",
    *,
    megabytes: float = 0.02,
    checkpoint: str = "one",
    tokenizer_bin: bool = True,
) -> Artifact:
    """An artifact folder whose files have the right names and hashes, say nothing and compress well."""
    runtime, precision, _ = name.split("-")
    folder = parent / name
    folder.mkdir(parents=True)
    weights = model_file(runtime)
    for file in [weights] if runtime == "litert" else [weights, f"{weights}.data", f"{weights}.head"]:
        (folder / file).write_bytes(os.urandom(100) * int(megabytes * 1e4))
    model = {"type": "BPE" if tokenizer_bin else "WordPiece"}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model}))
    if tokenizer_bin:
        (folder / "tokenizer.bin").write_bytes(os.urandom(100) * 30)
    (folder / "weights.json").write_text("{}")
    texts = [GoldenText(f"text {n}", "", list(range(n + 2)), [1.0, *[0.0] * (DIM - 1)]) for n in range(LONG)]
    write_golden(folder / "golden.json", texts, DIM)
    write_manifest(folder, _manifest(name, runtime, precision, checkpoint))
    return open_artifact(folder)


def _manifest(name: str, runtime: str, precision: str, checkpoint: str) -> Manifest:
    return Manifest(
        schema=MANIFEST_SCHEMA,
        name=name,
        runtime=runtime,
        precision=precision,
        dim=DIM,
        full_dim=DIM,
        max_tokens=256,
        model=ModelIdentity("m", "Gemma3TextModel", "m", None, checkpoint, None),
        prompts={"query": "q: "},
        pooling="mean",
        include_prompt=True,
        inputs=[],
        outputs=[],
        tokenizer=TokenizerSpec("0" * 64, 0, "right", 300, False),
        files={},
        tools={},
        reference=ReferenceScores("d", "test", "0" * 64, "q: ", {"4": 0.5}, None, {"4": [0.5] * 100}),
    )


def apk(
    out: Path,
    assets: Path,
    *,
    compressed: Iterable[str] = (),
    alignment: int = 4096,
    shift: int = 0,
    prefix: str = "assets/",
    first: str = "AndroidManifest.xml",
    more: dict[str, bytes] | None = None,
) -> Path:
    """A ZIP of a folder of assets, data at `alignment` plus `shift`, endings in `compressed` deflated."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {first: b"", **(more or {})}.items():
            archive.writestr(name, content)
        for file in sorted(path for path in assets.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(prefix + file.relative_to(assets).as_posix())
            if file.name.endswith(tuple(compressed)):
                entry.compress_type = zipfile.ZIP_DEFLATED
            begin = archive.fp.tell() + 30 + len(entry.filename.encode()) + 4  # type: ignore[union-attr]
            padding = (shift - begin) % alignment
            entry.extra = struct.pack("<HH", 0xD935, padding) + bytes(padding)
            archive.writestr(entry, file.read_bytes())
    return out


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low = b""
    while value > 0x7F:
        low += bytes([value & 0x7F | 0x80])
        value >>= 7
    return low + bytes([value])


SPLIT = field(1, 9) + field(3, field(1, 1) + field(2, "other"))
"""Split by device group, suffixes cut off."""
NEGATED, UNSTRIPPED, BY_LANGUAGE = SPLIT + field(2, 1), field(1, 9), field(1, 3) + field(3, field(1, 1))


def bundle_config(globs: Iterable[str] = (), *, packs: int = 0, split: bytes = SPLIT) -> bytes:
    """BundleConfig.pb as the Android Gradle Plugin writes it."""
    optimizations = field(2, field(1, field(1, split)))
    compression = b"".join(field(1, glob) for glob in globs) + (field(2, packs) if packs else b"")
    return field(1, field(2, "1.18.1")) + optimizations + field(3, compression)


def group_config(*groups: tuple[str, int, int]) -> bytes:
    """DeviceGroupConfig.pb of groups by name, smallest RAM in bytes and its end, 0 for none."""
    whole = b""
    for name, least, end in groups:
        ram = field(1, least) + (field(2, end) if end else b"")
        whole += field(1, field(1, name) + field(2, field(1, ram)))
    return whole
