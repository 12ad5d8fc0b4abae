"""export/delivery: protocol buffers by field, and globs as Java matches them."""

import pytest
from delivery_samples import field
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from common.errors import UserError
from export.delivery.bundle_config import glob_matches
from export.delivery.protobuf import fields, integer, messages, texts


def test_fields_are_those_that_googles_library_writes() -> None:
    inner = FieldDescriptorProto(name="größe", number=300, label=FieldDescriptorProto.LABEL_REPEATED)
    message = DescriptorProto(name="outer", field=[inner, FieldDescriptorProto(name="second")])
    found = fields(message.SerializeToString())
    assert texts(found, 1) == ["outer"]
    first, second = messages(found, 2)
    assert (texts(first, 1), integer(first, 3), integer(first, 4)) == (["größe"], 300, 3)
    assert (texts(second, 1), integer(second, 3)) == (["second"], 0)


def test_fixed_widths_are_skipped() -> None:
    eight, four = bytes([1 << 3 | 1]) + bytes(8), bytes([2 << 3 | 5]) + bytes(4)
    assert integer(fields(eight + four + field(3, 1 << 40)), 3) == 1 << 40


@pytest.mark.parametrize("message", [b"\x0a\x05abc", b"\x80", b"\x0b", b"\x09abc", b"\x08" + b"\xff" * 11])
def test_other_bytes_are_refused(message: bytes) -> None:
    with pytest.raises(UserError, match="not a protocol buffer"):
        fields(message)


def test_a_text_where_a_number_is_due_is_refused() -> None:
    with pytest.raises(UserError, match="field 1 is no number"):
        integer(fields(field(1, "x")), 1)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("**.[tT][fF][lL][iI][tT][eE]", "assets/pocketvec/a/model.tflite", True),
        ("**.[tT][fF][lL][iI][tT][eE]", "assets/MODEL.TFLITE", True),
        ("**.[tT][fF][lL][iI][tT][eE]", "assets/model.tflite.gz", False),
        ("**bin", "assets/a/tokenizer.bin", True),
        ("*.bin", "assets/tokenizer.bin", False),
        ("assets/*/tokenizer.bin", "assets/a/tokenizer.bin", True),
        ("assets/*/tokenizer.bin", "assets/a/b/tokenizer.bin", False),
        ("assets/**", "assets/a/b/tokenizer.bin", True),
        ("**.{bin,onnx}", "assets/a.onnx", True),
        ("**.{bin,onnx}", "assets/a.data", False),
        ("**.[!b]in", "a.bin", False),
        ("a.b?n", "a.bin", True),
        ("**.onnx", "a/xonnx", False),
    ],
)
def test_globs_match_as_in_java(glob: str, path: str, matches: bool) -> None:
    assert glob_matches(glob, path) is matches
