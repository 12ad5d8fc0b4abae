"""Which codec each weight gets: a recipe by precision and runtime.

A name says what is inside. `q8_0` and `q4_0` hold nothing but blocks of 32, as ggml has them. `int8` has one
scale per output channel in the layers' products, which run several times as fast as blocks do; its token
table is Q8_0 all the same. LiteRT has no kernel for 8-bit blocks, so its head is float16: one scale per
channel there took the worst golden cosine of the tuned starter at 256 dimensions from 0.9993 to 0.9987, of
the first starter (docs/starter.md) from 0.9994 to 0.9949. `mixed` keeps 8 bits where they count most, in
attention (as Google's e4_a8_f4_p4 does). Overrides change a precision for the weights that a pattern names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from common.errors import UserError
from quantize.blocks import Q4_0, Q4_0_PORTABLE, Q8_0, Codec
from quantize.channels import F16, FP32, INT8
from quantize.scale_search import Q4_0_SEARCHED, Q4_0_TABLE_SEARCHED
from train.checkpoint import refuse_fp16

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


GROUPS = ("table", "attention", "feed_forward", "head")
"""Words that stand for weights in a pattern: every weight belongs to exactly one of them."""


def group_of(weight: str, is_table: bool) -> str:
    """The group of a weight; whatever is no table, head or attention counts as feed_forward."""
    if is_table:
        return "table"
    if weight.startswith("head."):
        return "head"
    return "attention" if ATTENTION.search(weight) else "feed_forward"


def plain_name(weight: str) -> str:
    """A weight's name in the model, whatever its container puts around it."""
    plain = weight.removeprefix("backbone.")
    return plain.removesuffix("_t") if plain.endswith(".weight_t") else plain


@dataclass(frozen=True)
class Override:
    """A precision for the weights that match a pattern.

    pattern: a group, a shell glob over names (`layers.0.*`), or both: `attention:layers.0.*`.
    """

    pattern: str
    precision: str
    runtime: str

    def matches(self, weight: str, is_table: bool) -> bool:
        """Whether the pattern names this weight."""
        group, (first, colon, glob) = group_of(weight, is_table), self.pattern.partition(":")
        if first in GROUPS and (colon or first == self.pattern):
            return first == group and (not colon or fnmatchcase(plain_name(weight), glob))
        return fnmatchcase(plain_name(weight), self.pattern)

    def codec(self, weight: str, is_table: bool) -> Codec:
        """The codec for a weight. Raises UserError when the runtime cannot hold it in this precision."""
        known = codecs(self.runtime, is_table)
        if self.precision not in known:
            raise UserError(
                f"weight '{plain_name(weight)}': {self.runtime} cannot hold it as {self.precision} "
                f"(asked for by '{self.pattern}'); it takes {', '.join(sorted(known))}"
            )
        return known[self.precision]


@dataclass(frozen=True)
class Recipe:
    """Codecs of the token table, of attention's products, of all other products and of the head.

    overrides: the first one that matches a weight decides in place of these. scale_search: 4-bit blocks get
    their scales from quantize.scale_search.
    """

    table: Codec
    attention: Codec
    rest: Codec
    head: Codec
    overrides: tuple[Override, ...] = ()
    scale_search: bool = False

    def codec(self, weight: str, is_table: bool) -> Codec:
        """The codec of a weight by its name."""
        override = next((one for one in self.overrides if one.matches(weight, is_table)), None)
        chosen = override.codec(weight, is_table) if override else self.of_group(group_of(weight, is_table))
        return SEARCHED.get(chosen, chosen) if self.scale_search else chosen

    def of_group(self, group: str) -> Codec:
        """The codec that a group has where no override says otherwise."""
        groups = (self.table, self.attention, self.rest, self.head)
        return dict(zip(GROUPS, groups, strict=True))[group]


SEARCHED = {Q4_0: Q4_0_TABLE_SEARCHED, Q4_0_PORTABLE: Q4_0_SEARCHED}
RECIPES = {
    "onnx": {
        "q8_0": Recipe(Q8_0, Q8_0, Q8_0, Q8_0),
        "int8": Recipe(Q8_0, INT8, INT8, Q8_0),
        "q4_0": Recipe(Q4_0, Q4_0_PORTABLE, Q4_0_PORTABLE, Q4_0_PORTABLE),
        "mixed": Recipe(Q4_0, INT8, Q4_0_PORTABLE, Q4_0_PORTABLE),
    },
    "litert": {
        "int8": Recipe(Q8_0, INT8, INT8, F16),
        "q4_0": Recipe(Q4_0, Q4_0_PORTABLE, Q4_0_PORTABLE, Q4_0_PORTABLE),
        "mixed": Recipe(Q4_0, INT8, Q4_0_PORTABLE, Q4_0_PORTABLE),
    },
    "gguf": {
        "q8_0": Recipe(Q8_0, Q8_0, Q8_0, Q8_0),
        "q4_0": Recipe(Q4_0, Q4_0_PORTABLE, Q4_0_PORTABLE, Q4_0_PORTABLE),
        "mixed": Recipe(Q4_0, Q8_0, Q4_0_PORTABLE, Q4_0_PORTABLE),
    },
}
COUNTERPARTS = {("litert", "q8_0"): "int8", ("gguf", "int8"): "q8_0"}
"""The 8-bit precision of a runtime under another one's name."""
LEFT_ALONE = {"onnx": {FP32.name: FP32}}
"""What a runtime holds that no precision of its own asks for."""


def codecs(runtime: str, is_table: bool) -> dict[str, Codec]:
    """What a runtime can hold a table or a product in, by name: all that its recipes use, and more."""
    used = [
        codec
        for recipe in RECIPES[runtime].values()
        for codec in ((recipe.table,) if is_table else (recipe.attention, recipe.rest, recipe.head))
    ]
    return {codec.name: codec for codec in used} | LEFT_ALONE.get(runtime, {})


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
