"""Which codec each weight gets: a recipe by precision and runtime.

A name says what is inside. `q8_0` and `q4_0` hold nothing but blocks of 32. LiteRT has kernels for 4-bit
blocks but none for 8-bit ones, so its 8-bit precision is called `int8`: the token table is Q8_0 all the same,
the layers' products have one scale per output channel, and the head is float16, because one scale per
channel there took the tuned starter's worst golden cosine at 256 dimensions from 0.9994 to 0.9949. `mixed`
keeps 8 bits where they count most, in attention.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from common.errors import UserError
from quantize.blocks import Q4_0, Q4_0_PORTABLE, Q8_0, Codec
from quantize.channels import F16, INT8
from train.checkpoint import refuse_fp16

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True)
class Recipe:
    """Codecs of the token table, of attention's products, of all other products and of the head."""

    table: Codec
    attention: Codec
    rest: Codec
    head: Codec

    def codec(self, weight: str, is_table: bool) -> Codec:
        """The codec of a weight by its name."""
        if is_table:
            return self.table
        if weight.startswith("head."):
            return self.head
        return self.attention if ATTENTION.search(weight) else self.rest


RECIPES = {
    "onnx": {
        "q8_0": Recipe(Q8_0, Q8_0, Q8_0, Q8_0),
        "q4_0": Recipe(Q4_0, Q4_0_PORTABLE, Q4_0_PORTABLE, Q4_0_PORTABLE),
        "mixed": Recipe(Q4_0, Q8_0, Q4_0_PORTABLE, Q4_0_PORTABLE),
    },
    "litert": {
        "int8": Recipe(Q8_0, INT8, INT8, F16),
        "q4_0": Recipe(Q4_0, Q4_0_PORTABLE, Q4_0_PORTABLE, Q4_0_PORTABLE),
        "mixed": Recipe(Q4_0, INT8, Q4_0_PORTABLE, Q4_0_PORTABLE),
    },
}
RECIPES["gguf"] = RECIPES["onnx"]
COUNTERPARTS = {("litert", "q8_0"): "int8", ("onnx", "int8"): "q8_0", ("gguf", "int8"): "q8_0"}
"""The 8-bit precision of a runtime under another one's name."""


def choose_precision(runtime: str, name: str) -> str:
    """The precision that a runtime has under this name or, at 8 bits, in place of it.

    Raises UserError for an unknown name, with the reason for fp16.
    """
    refuse_fp16(name)
    chosen = COUNTERPARTS.get((runtime, name), name)
    if chosen not in RECIPES[runtime]:
        raise UserError(f"precision '{name}': unknown; choose from {', '.join(known_precisions())}")
    return chosen


def known_precisions() -> tuple[str, ...]:
    """Every name that some runtime knows."""
    return tuple(dict.fromkeys(name for recipes in RECIPES.values() for name in recipes))
