"""`am instrument -w` as it ends well, as it crashes, and as it never was."""

import pytest

from android_harness.driver.instrumentation import check_instrumentation, parse_instrumentation
from common.errors import UserError

WELL = """\
INSTRUMENTATION_STATUS: class=dev.pocketvec.harness.BenchInstrumentation
INSTRUMENTATION_STATUS: stream=
one=two
INSTRUMENTATION_STATUS_CODE: 1
INSTRUMENTATION_RESULT: result=/sdcard/Android/media/dev.pocketvec.harness/results/ab/result.json
INSTRUMENTATION_CODE: -1
"""
CRASHED = """\
INSTRUMENTATION_RESULT: shortMsg=java.lang.UnsatisfiedLinkError
INSTRUMENTATION_RESULT: longMsg=java.lang.UnsatisfiedLinkError: dlopen failed: library not found
\tat java.lang.Runtime.loadLibrary
INSTRUMENTATION_CODE: 0
"""


def test_results_are_read_and_values_may_run_over_lines() -> None:
    found = check_instrumentation(WELL, "phone")
    assert found.results == {"result": "/sdcard/Android/media/dev.pocketvec.harness/results/ab/result.json"}
    long = parse_instrumentation(CRASHED).results["longMsg"]
    assert long.endswith("library not found\n\tat java.lang.Runtime.loadLibrary")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            CRASHED,
            "phone: the app crashed: java.lang.UnsatisfiedLinkError java.lang.UnsatisfiedLinkError: dlopen",
        ),
        (
            "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n",
            "phone: the app crashed: Process crashed.",
        ),
        (
            "INSTRUMENTATION_STATUS: id=ActivityManagerService\n"
            "INSTRUMENTATION_STATUS: Error=Unable to find instrumentation info for: ComponentInfo{a/b}\n"
            "INSTRUMENTATION_STATUS_CODE: -1\n"
            "android.util.AndroidException: INSTRUMENTATION_FAILED: a/b\n",
            "phone: the app did not run: INSTRUMENTATION_FAILED: a/b",
        ),
        ("INSTRUMENTATION_ABORTED: System has crashed.\n", "phone: the app did not run: System has crashed."),
        (
            "INSTRUMENTATION_RESULT: error=job.json: no such file\nINSTRUMENTATION_CODE: 0\n",
            "phone: the app says: job.json: no such file",
        ),
        ("INSTRUMENTATION_CODE: 0\n", "phone: the app ended with code 0"),
        ("", "phone: the app ended without a word"),
        (WELL.replace("INSTRUMENTATION_CODE: -1\n", ""), "phone: the app ended without a word"),
    ],
)
def test_a_run_that_did_not_end_well_is_named(text: str, words: str) -> None:
    with pytest.raises(UserError) as raised:
        check_instrumentation(text, "phone")
    assert str(raised.value).startswith(words)
