"""runtime-litert compiles against LiteRT's signatures, and what of it needs no LiteRT is right."""

from __future__ import annotations

import pytest

from android_harness.toolchain import modules

pytestmark = pytest.mark.android


def test_its_unit_tests_pass() -> None:
    assert "OK (9 tests)" in modules.run_tests("runtime-litert")


def test_it_is_found_by_the_service_loader() -> None:
    built = modules.build("runtime-litert")
    named = (built / "META-INF" / "services" / "dev.pocketvec.RuntimeFactory").read_text().split()
    assert named == ["dev.pocketvec.litert.LitertFactory"]
    assert (built / "dev" / "pocketvec" / "litert" / "LitertFactory.class").is_file()
