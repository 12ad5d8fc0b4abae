"""Gemma encoders gone wrong on purpose: what a broken export of one computes, made with the real modules.

Each alteration is a context: inside it the backbone computes the wrong thing, after it everything is as it
was. Nothing is copied, so that a full-size model is altered in the memory that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

Alteration = Callable[[Any], AbstractContextManager[None]]

SLIDING, FULL = "sliding_attention", "full_attention"


@contextmanager
def replaced(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes, (object, name, value) each, and put the former values back at the end."""
    former = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in former:
            setattr(owner, name, value)


@contextmanager
def _hooked(modules: list[Any], change: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Have `change` make each module's output from its input and its right output."""
    with ExitStack() as hooks:
        for module in modules:
            handle = module.register_forward_hook(lambda _, given, made: change(given[0], made))
            hooks.callback(handle.remove)
        yield


def embedding_scale_missing(backbone: Any) -> AbstractContextManager[None]:
    """The rows of the table as they are, without the root of the width."""
    scale = backbone.embed_tokens.embed_scale
    return replaced((backbone.embed_tokens, "embed_scale", scale / scale))


def rope_bases(sliding: str, full: str) -> Alteration:
    """Each kind of layer with the rotary base of the kind given."""

    def alter(backbone: Any) -> AbstractContextManager[None]:
        rope = backbone.rotary_emb
        right = {kind: getattr(rope, f"{kind}_inv_freq") for kind in (SLIDING, FULL)}
        given = {SLIDING: right[sliding], FULL: right[full]}
        return replaced(*((rope, f"{kind}_inv_freq", value) for kind, value in given.items()))

    return alter


def rope_missing(backbone: Any) -> AbstractContextManager[None]:
    """No position anywhere."""
    names = [f"{kind}_inv_freq" for kind in set(backbone.config.layer_types)]
    rope = backbone.rotary_emb
    return replaced(*((rope, name, getattr(rope, name) * 0) for name in names))


def rope_interleaved(backbone: Any) -> AbstractContextManager[None]:
    """Neighbouring numbers rotated together in place of the two halves, as other families have it.

    Queries and keys are sorted so that neighbours come to lie in the two halves; scores do not mind.
    """
    modules = [norm for layer in backbone.layers for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm)]
    return _hooked(modules, lambda _, made: made.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2))


def query_scale_missing(backbone: Any) -> AbstractContextManager[None]:
    """Scores that nothing divides."""
    return replaced(*((layer.self_attn, "scaling", 1.0) for layer in backbone.layers))


def head_norms_missing(backbone: Any) -> AbstractContextManager[None]:
    """Queries and keys that are not normed."""
    norms = [norm for layer in backbone.layers for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm)]
    return _hooked(norms, lambda given, _: given)


def final_norm_missing(backbone: Any) -> AbstractContextManager[None]:
    """What the last layer gives, not normed."""
    return _hooked([backbone.norm], lambda given, _: given)


def norm_weight_without_one(backbone: Any) -> AbstractContextManager[None]:
    """RMSNorm with w for 1 + w, which Gemma has and others have not."""
    from torch.nn import Parameter

    norms = [module for module in backbone.modules() if type(module).__name__.endswith("RMSNorm")]
    less = [Parameter(norm.weight.detach() - 1, requires_grad=False) for norm in norms]
    return replaced(*((norm, "weight", value) for norm, value in zip(norms, less, strict=True)))


def layers(order: Callable[[list[int]], list[int]]) -> Alteration:
    """The layers in another order, or fewer of them; each keeps its kind."""

    def alter(backbone: Any) -> AbstractContextManager[None]:
        from torch.nn import ModuleList

        config, old = backbone.config, list(backbone.layers)
        chosen = order(list(range(len(old))))
        kinds = [config.layer_types[index] for index in chosen]
        return replaced(
            (backbone, "layers", ModuleList(old[index] for index in chosen)),
            (config, "num_hidden_layers", len(chosen)),
            (config, "layer_types", kinds),
        )

    return alter


def layer_kinds_shifted(backbone: Any) -> AbstractContextManager[None]:
    """Full attention one layer later, window and rotary base with it."""
    kinds = list(backbone.config.layer_types)
    return replaced((backbone.config, "layer_types", [*kinds[-1:], *kinds[:-1]]))


def weights_swapped(part: str, first: str, second: str) -> Alteration:
    """Two linears of one shape in each other's place in every layer."""

    def alter(backbone: Any) -> AbstractContextManager[None]:
        owners = [getattr(layer, part) for layer in backbone.layers]
        pairs = [(first, second), (second, first)]
        return replaced(*((owner, to, getattr(owner, of)) for owner in owners for to, of in pairs))

    return alter


def activation(make: Callable[[], Any]) -> Alteration:
    """Another function between gate and product."""
    return lambda backbone: replaced(*((layer.mlp, "act_fn", make()) for layer in backbone.layers))


def _exact_gelu() -> Any:
    from torch.nn import GELU

    return GELU()


def _silu() -> Any:
    from torch.nn import SiLU

    return SiLU()


ALTERATIONS: dict[str, Alteration] = {
    "embedding-scale-missing": embedding_scale_missing,
    "rope-base-wrong/bases swapped": rope_bases(sliding=FULL, full=SLIDING),
    "rope-base-wrong/the sliding layers' everywhere": rope_bases(sliding=SLIDING, full=SLIDING),
    "rope-base-wrong/the full layers' everywhere": rope_bases(sliding=FULL, full=FULL),
    "rope-missing": rope_missing,
    "rope-interleaved": rope_interleaved,
    "query-scale-missing": query_scale_missing,
    "head-norms-missing": head_norms_missing,
    "final-norm-missing": final_norm_missing,
    "norm-weight-without-one": norm_weight_without_one,
    "layer-missing/the last": layers(lambda order: order[:-1]),
    "layer-missing/the first": layers(lambda order: order[1:]),
    "layers-misordered/reversed": layers(lambda order: order[::-1]),
    "layers-misordered/sorted as text": layers(lambda order: sorted(order, key=str)),
    "layer-kinds-shifted": layer_kinds_shifted,
    "gate-up-swapped": weights_swapped("mlp", "gate_proj", "up_proj"),
    "key-value-swapped": weights_swapped("self_attn", "k_proj", "v_proj"),
    "activation-wrong/exact GELU": activation(_exact_gelu),
    "activation-wrong/SiLU": activation(_silu),
}
"""Name of the fault, after the stroke which form of it, and the context that makes it."""
NEED_BOTH_KINDS = "rope-base-wrong"


def alterations(layer_types: list[str]) -> dict[str, Alteration]:
    """Those that a model with these kinds of layers can have."""
    both = len(set(layer_types)) > 1
    return {name: one for name, one in ALTERATIONS.items() if both or not name.startswith(NEED_BOTH_KINDS)}


@dataclass(frozen=True)
class Masks:
    """Who sees whom: keys nearer than a reach (None: all) by kind of layer; causal: none that follow."""

    sliding: int | None
    full: int | None = None
    causal: bool = False

    def tensors(self, length: int) -> dict[str, Any]:
        """The mask of each kind of layer, bool [1, 1, length, length], as the backbone takes them."""
        import torch

        places = torch.arange(length)
        apart = places[:, None] - places[None, :]
        seen = apart >= 0 if self.causal else torch.ones_like(apart, dtype=torch.bool)
        reaches = {SLIDING: self.sliding, FULL: self.full}
        near = {
            kind: seen if reach is None else seen & (apart.abs() < reach) for kind, reach in reaches.items()
        }
        return {kind: mask[None, None] for kind, mask in near.items()}


def wrong_windows(right: int) -> dict[str, Masks]:
    """Masks that are wrong for texts longer than the window, by name of the fault.

    `right` is the distance from which on a key is hidden, which transformers makes of twice as much in the
    configuration: a reader who does not know halves it again, or does not halve it.
    """
    return {
        "window-off-by-one/too wide": Masks(right + 1),
        "window-off-by-one/too narrow": Masks(right - 1),
        "window-halved": Masks(right // 2 + 1),
        "window-doubled": Masks(2 * (right - 1)),
        "window-ignored": Masks(None),
        "window-everywhere": Masks(right, right),
    }


def causal_masks(right: int | None) -> dict[str, Masks]:
    """A decoder's masks: no token sees what follows it."""
    return {"causal-attention": Masks(right, causal=True)}
