"""The progress display where there is no terminal: plain lines on stderr, nothing on stdout."""

import pytest

from common.progress import Display


def test_without_a_terminal_each_stage_and_remark_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        with display.stage("train", 2) as step:
            step()
            step("epoch 1: dev NDCG@10 0.500", 0)
            step("last word")
        display.done("export", "done before")
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert shown.out == ""
    assert lines[0].split() == ["train", "epoch", "1:", "dev", "NDCG@10", "0.500"]
    assert lines[1].startswith("train      2/2")
    assert lines[1].endswith("last word")
    assert lines[2].startswith("export     1/1")
