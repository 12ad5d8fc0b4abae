"""A payload is looked into before a phone is asked to unpack it."""

from pathlib import Path

import pytest
from device_samples import elf, write_payload

from android_harness.driver.payload import kept_payload, read_payload
from common.errors import UserError


@pytest.mark.parametrize(
    ("content", "abi"),
    [(elf(183), "arm64-v8a"), (elf(62), "x86_64"), (elf(40), "another"), (b"a script", None)],
)
def test_the_abi_is_that_of_the_programs_in_it(tmp_path: Path, content: bytes, abi: str | None) -> None:
    path = tmp_path / "payload.tar.gz"
    write_payload(path, {"run": b"#!/system/bin/sh\n", "bin/python3": content})
    payload = read_payload(path)
    assert (payload.abi, payload.unpacked_bytes) == (abi, len(content) + 17)
    assert payload.folder == f"/data/local/tmp/pocketvec/payload-{payload.sha256[:16]}"


def test_what_is_no_payload_is_named(tmp_path: Path) -> None:
    path = tmp_path / "payload.tar.gz"
    with pytest.raises(UserError, match="no such payload"):
        read_payload(path)
    path.write_bytes(b"neither gzip nor tar")
    with pytest.raises(UserError, match="not a payload, "):
        read_payload(path)
    write_payload(path, {"walk": b""})
    with pytest.raises(UserError, match="it holds no program 'run'"):
        read_payload(path)
    write_payload(path, {"run": b"x" * 100_000})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="not a payload, "):
        read_payload(path)


def test_a_computer_that_cannot_build_one_is_told_where_it_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("POCKETVEC_TOOLS", str(tmp_path / "tools"))
    with pytest.raises(UserError, match=r"no payload: it is built on Debian 12.*--abi arm64-v8a.*--mode app"):
        kept_payload("arm64-v8a")
    assert list(tmp_path.iterdir()) == []
