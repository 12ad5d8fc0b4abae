"""Transformer and pooling as one ONNX graph, once for all dimensions.

Gemma encoders are written operator by operator (export.gemma_onnx), which takes a moment at full size and
runs faster. Any other encoder is traced: torch.onnx's dynamo exporter traces the Hugging Face implementation
itself, so that the graph and the reference are the same code. Its constant weights get the name of the torch
module they belong to, so that messages and recipes can name them.
"""

from __future__ import annotations

import logging
import re
import warnings
from typing import TYPE_CHECKING, Any

from common.errors import UserError, missing_extra
from export.gemma import is_supported
from export.gemma_onnx import GemmaEncoder
from export.manifest import POOLED, PROMPT_MASK
from export.onnx_build import OnnxBuilder
from export.onnx_file import OnnxModel, detach_weights
from export.source import Source

if TYPE_CHECKING:
    import onnx

OPSET = 21
SCOPES_KEY = "pkg.torch.onnx.name_scopes"


def make_trunk(source: Source) -> OnnxModel:
    """Graph from input_ids and attention_mask (int64 [batch, seq]) to `pooled` (float32 [batch, hidden]).

    Both axes are dynamic. attention_mask is 0 for padding and 1 for a token; a model that leaves the
    prompt out of its pooling also takes PROMPT_MASK for prompt tokens.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing_extra("export", error.name or "onnx") from None
    return write_gemma(source) if is_supported(source.backbone) else trace_trunk(source)


def write_gemma(source: Source) -> OnnxModel:
    """The trunk of a Gemma encoder, written; inputs and output as in `make_trunk`."""
    from onnx import TensorProto, helper

    graph = OnnxBuilder()
    axes = ["batch", "sequence"]
    inputs = {
        name: helper.make_tensor_value_info(name, TensorProto.INT64, axes)
        for name in ("input_ids", "attention_mask")
    }
    vectors = GemmaEncoder(graph, source.backbone).token_vectors("input_ids", "attention_mask")
    pool(graph, vectors, "attention_mask", source.pooling, source.include_prompt)
    pooled = helper.make_tensor_value_info(POOLED, TensorProto.FLOAT, ["batch", source.hidden_dim])
    return graph.model(inputs, [pooled])


def pool(graph: OnnxBuilder, vectors: str, mask: str, mode: str, include_prompt: bool) -> str:
    """Reduce [batch, seq, hidden] as `_pool` does in torch; the result is named POOLED."""
    counted = mask
    if not include_prompt:
        counted = graph.op("Mod", [mask, graph.constant(PROMPT_MASK, "int64")])
    if mode == "mean":
        weights = graph.op("Cast", [counted], to=1)
        row = graph.op("Unsqueeze", [weights, graph.constant([1], "int64")])
        total = graph.op("Squeeze", [graph.op("MatMul", [row, vectors]), graph.constant([1], "int64")])
        count = graph.op("ReduceSum", [weights, graph.constant([1], "int64")], keepdims=1)
        return graph.op("Div", [total, graph.op("Max", [count, graph.constant(1e-9)])], POOLED)
    if mode == "lasttoken":
        places = graph.op(
            "CumSum",
            [
                graph.op(
                    "Add", [graph.op("Mul", [mask, graph.constant(0, "int64")]), graph.constant(1, "int64")]
                ),
                graph.constant(1, "int64"),
            ],
        )
        counted = graph.op("Mul", [counted, places])
    index = graph.op("ArgMax", [counted], axis=1, keepdims=1)
    return graph.op("GatherND", [vectors, index], POOLED, batch_dims=1)


def trace_trunk(source: Source) -> OnnxModel:
    """The trunk of any encoder, traced by torch.onnx; inputs and output as in `make_trunk`."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which text needs not
    module = _trunk_module(source)
    example = torch.ones(2, 8, dtype=torch.int64)
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own deprecations
        try:
            program = torch.onnx.export(
                module,
                (example, example.clone()),
                input_names=["input_ids", "attention_mask"],
                output_names=[POOLED],
                dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{source.name}: torch.onnx cannot trace this model ({reason})") from None
    traced: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]  # None only if dynamo=False
    _name_axes(traced)
    _name_weights(traced)
    return detach_weights(traced)


def _trunk_module(source: Source) -> Any:
    import torch

    class Trunk(torch.nn.Module):
        """Backbone and pooling with the mask convention of the artifact."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = source.backbone

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            attend = attention_mask if source.include_prompt else (attention_mask != 0).long()
            pooled = attention_mask if source.include_prompt else (attention_mask % PROMPT_MASK)
            hidden = self.backbone(input_ids=input_ids, attention_mask=attend).last_hidden_state
            return _pool(hidden, pooled, source.pooling)

    return Trunk().eval()


def _pool(hidden: Any, mask: Any, mode: str) -> Any:
    """Reduce [batch, seq, hidden] over the tokens that `mask` marks with 1, as Sentence Transformers does."""
    import torch

    if mode == "mean":
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    positions = torch.arange(mask.shape[1], device=mask.device)
    index = (mask if mode == "cls" else mask * positions).argmax(dim=1)
    return hidden.gather(1, index.reshape(-1, 1, 1).expand(-1, 1, hidden.shape[-1])).squeeze(1)


def _name_axes(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        for axis, name in zip(value.type.tensor_type.shape.dim, ("batch", "sequence"), strict=True):
            axis.dim_param = name
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]  # intermediate shapes still carry the tracer's axis names


def _name_weights(model: onnx.ModelProto) -> None:
    """Rename constants that the exporter called val_123 after the torch module that uses them."""
    taken = {tensor.name for tensor in model.graph.initializer}
    renames: dict[str, str] = {}
    for node in model.graph.node:
        scope = next((p.value for p in node.metadata_props if p.key == SCOPES_KEY), "")
        modules = re.findall(r"'([^']*)'", scope)
        module = modules[-2] if len(modules) > 1 else ""
        for name in node.input:
            if name in taken and module and re.fullmatch(r"val_\d+", name) and node.op_type == "MatMul":
                renames.setdefault(name, f"{module}.weight_t")
    if len(set(renames.values())) != len(renames) or taken & set(renames.values()):
        renames = {}  # a module used twice: the exporter's own names stay
    for tensor in model.graph.initializer:
        tensor.name = renames.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        del node.metadata_props[:]
