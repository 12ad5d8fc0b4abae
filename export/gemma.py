"""What is known of the Gemma 3 text encoder whatever the runtime: its form, its constants, its tables.

Source of the architecture: transformers' Gemma3TextModel with bidirectional attention, in which a sliding
layer attends to keys at a distance below `sliding_window`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

MASKED = -1e4
"""Added to the score of a key that is not attended to. Finite, for a row may be masked whole; within fp16."""
FINE = 32
"""Rotary angles are added from two tables, every FINE-th position and the FINE first ones."""


def is_supported(backbone: Any) -> bool:
    """Whether `backbone` is a Gemma 3 text encoder of the form written here."""
    config = backbone.config
    return (
        type(backbone).__name__ == "Gemma3TextModel"
        and bool(getattr(config, "use_bidirectional_attention", False))
        and config.hidden_activation == "gelu_pytorch_tanh"
        and not config.attention_bias
        and config.attn_logit_softcapping is None
        and all(kind["rope_type"] == "default" for kind in config.rope_parameters.values())
    )


def array(parameter: Any) -> Float32:
    """A torch parameter as float32, without a copy where it is one already."""
    return parameter.detach().cpu().float().numpy()  # type: ignore[no-any-return]


def norm_weight(norm: Any) -> Float32:
    """The factor of an RMSNorm: Gemma stores it less one."""
    return 1 + array(norm.weight)


def query_norm(config: Any, attention: Any) -> Float32:
    """The factor [head_dim] of the queries' norm, with the softmax scale in it."""
    return norm_weight(attention.q_norm) * np.float32(config.query_pre_attn_scalar**-0.5)


def key_norm(attention: Any) -> Float32:
    """The factor [head_dim] of the keys' norm."""
    return norm_weight(attention.k_norm)


def rotary_factors(config: Any, kind: str) -> list[tuple[str, list[tuple[str, Float32]]]]:
    """Cosines and sines of the coarse angles [steps, 1, head_dim / 2] and the fine ones [1, FINE, ...].

    The angle of position p is coarse[p // FINE] + fine[p % FINE], for layers of one kind.
    """
    base = config.rope_parameters[kind]["rope_theta"]
    frequencies = base ** -(np.arange(0, config.head_dim, 2) / config.head_dim)
    steps = -(-config.max_position_embeddings // FINE)
    angles = {
        "coarse": np.outer(np.arange(steps) * FINE, frequencies)[:, None],
        "fine": np.outer(np.arange(FINE), frequencies)[None],
    }
    functions = {"cos": np.cos, "sin": np.sin}
    return [
        (part, [(name, one(angle).astype(np.float32)) for name, one in functions.items()])
        for part, angle in angles.items()
    ]
