"""Where the reports of several phones are written."""

import pytest

from pocketvec.driving import folder_names


@pytest.mark.parametrize(
    ("serials", "folders"),
    [
        (["R58M", "192.168.1.5:5555"], ["R58M", "192.168.1.5_5555"]),
        (["a:1", "a_1", "A 1"], ["a_1", "a_1_2", "A_1_3"]),
        (["..", ".", "../../etc"], ["phone", "phone_2", "_.._etc"]),
        (["a_2", "a", "A"], ["a_2", "a", "A_3"]),
    ],
)
def test_no_phone_chooses_its_folder_and_no_two_share_one(serials: list[str], folders: list[str]) -> None:
    assert list(folder_names(serials).values()) == folders
