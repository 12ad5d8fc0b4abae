"""Encoders other than Gemma, converted by litert-torch: a subgraph per length over shared weights.

The conversion serves every dimension: it ends at the token vectors, and each profile gets a copy to complete.
"""

from __future__ import annotations

import copy
import io
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from common.errors import UserError, missing_extra
from export.gemma import array
from export.litert_graph import signature_name
from export.litert_session import quiet
from export.session import usable_cores
from export.source import Source
from export.tflite_file import read_tflite
from export.tflite_graph import Array, GraphBuilder, ModelBuilder, builtin_code

Converted = tuple[schema.ModelT, dict[int, Array]]
"""A model and its weights by buffer, views of the mapped file."""
CONVERTER_SETTINGS = {"LITERT_TORCH_SHOW_PROGRESS": "0", "LITERT_TORCH_FULL_TFL_DECOMPS": "1"}
"""Environment that litert-torch reads while it converts. Torch operators become LiteRT's own before MLIR sees
them: by way of StableHLO, 0.10 makes a reshape of the transposition of a single key/value head."""
CONVERTER_ERRORS = (RuntimeError, TypeError, ValueError, AssertionError, LookupError)
"""What torch.export, litert-torch, JAX and MLIR raise for a model they cannot take; they share no base."""
TOLERANCE = 0.01
"""Largest deviation from PyTorch as a share of the largest component: above rounding, below any fault."""
NAMED_BYTES = 4096
"""Smaller constants lose their names, as intermediate tensors do: in the file, names are only weight."""


class ConvertedEncoder:
    """A backbone as LiteRT subgraphs: int32 ids [1, length] in, float32 token vectors [length, hidden]."""

    def __init__(self, source: Source, lengths: list[int]) -> None:
        """Convert `source.backbone` once, for every length.

        Raises UserError when litert-torch is not installed, cannot convert the backbone or converts it
        wrongly; where one operator is to blame, the message names it and its torch module.
        """
        lengths = sorted(lengths)
        with _muted(), _eager_attention(source.backbone):
            _load()
            module = _token_vectors(source)
            nodes = _checked_nodes(source, module, lengths[0])
            self._model, self._weights = _convert(source, module, lengths, nodes)
        keys = {one.signatureKey.decode(): one.subgraphIndex for one in self._model.signatureDefs}
        self._subgraphs = {length: keys[signature_name(length)] for length in lengths}
        self._model.signatureDefs = []
        _rename(self._model, self._weights, dict(source.backbone.named_parameters()))

    def fresh(self) -> dict[int, tuple[GraphBuilder, int, int]]:
        """A model of its own, by ascending length: (subgraph, tensor of the ids, tensor of the vectors).

        The weights are those of every other copy.
        """
        model = copy.deepcopy(self._model)
        builder = ModelBuilder.of(model, self._weights)
        begun = {}
        for length, index in self._subgraphs.items():
            graph = model.subgraphs[index]
            begun[length] = (GraphBuilder(builder, graph.name, graph), graph.inputs[0], graph.outputs[0])
        return begun


@contextmanager
def _muted() -> Iterator[None]:
    """No Python warning or log record reaches the terminal, and no handler or level stays behind."""
    root = logging.getLogger()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    root.addHandler(logging.NullHandler())  # without any, the first record would install one for good
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)


def _load() -> None:
    """Import litert-torch for the first time."""
    os.environ.update(CONVERTER_SETTINGS)
    try:
        with quiet():  # its C++ side greets on stderr
            import litert_torch  # noqa: F401
    except ImportError:
        raise missing_extra("litert-torch", "litert_torch") from None


@contextmanager
def _eager_attention(backbone: Any) -> Iterator[None]:
    """Attention spelt out, for the time of the trace.

    Its mask adds the lowest float32 in place of -inf, so that a row that is masked whole gives no NaN.
    """
    before = backbone.config._attn_implementation
    backbone.set_attn_implementation("eager")
    try:
        yield
    finally:
        backbone.set_attn_implementation(before)


def _token_vectors(source: Source) -> Any:
    """The module that is converted: the backbone with its mask derived from the ids."""
    import torch

    class TokenVectors(torch.nn.Module):
        """Tokens are what lies between the first and the last id that is not padding."""

        def __init__(self) -> None:
            super().__init__()
            self.backbone = source.backbone
            self.pad_id = source.pad_id

        def forward(self, ids: Any) -> Any:
            length = ids.shape[1]
            positions = torch.arange(1, length + 1, dtype=torch.float32)[None]
            token = (ids != self.pad_id).float()
            last = (token * positions).amax(1, keepdim=True)
            first = length + 1 - (token * (length + 1 - positions)).amax(1, keepdim=True)
            mask = ((positions >= first) & (positions <= last)).long()
            return self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state[0]

    return TokenVectors().eval()


def _sample(module: Any, length: int) -> Any:
    """A text of `length` tokens, the last third padding: int32 [1, length]."""
    import torch

    rows = module.backbone.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, rows, (1, length), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    ids[:, length - length // 3 :] = module.pad_id
    return ids


def _checked_nodes(source: Source, module: Any, length: int) -> list[Any]:
    """The operators of the traced module. Raises UserError for one that litert-torch cannot lower."""
    import torch
    from litert_torch import fx_infra
    from litert_torch.backend import lowerings
    from litert_torch.backend.experimental import torch_tfl

    try:
        with redirect_stderr(io.StringIO()):  # it prints the graph that it cannot trace
            program = torch.export.export(module, (_sample(module, length),), strict=False)
        table = fx_infra.decomp.pre_lower_decomp()
        program = fx_infra.safe_run_decompositions(program, table, can_skip=False)
    except CONVERTER_ERRORS as error:
        raise UserError(f"{source.name}: torch.export cannot trace it ({_reason(str(error))})") from None
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    for node in nodes:
        known = node.target in torch_tfl.decomps or lowerings.lookup(node.target) is not None
        if isinstance(node.target, torch._ops.OpOverload) and not known:
            raise _unsupported(str(node.target), _module_of(node))
    return nodes


def _convert(source: Source, module: Any, lengths: list[int], nodes: list[Any]) -> Converted:
    """Convert to a file, open it and let go of its name."""
    import litert_torch

    signatures = litert_torch.Converter()
    for length in lengths:
        signatures.signature(signature_name(length), module, (_sample(module, length),))
    try:
        converted = signatures.convert()
    except CONVERTER_ERRORS as error:
        raise _explained(source, str(error), nodes) from None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "encoder.tflite"
        with quiet():
            converted.export(str(path))
        model, weights = read_tflite(path)
        _try_out(path, model, module, lengths, nodes)
    return model, weights


def _try_out(path: Path, model: schema.ModelT, module: Any, lengths: list[int], nodes: list[Any]) -> None:
    """Run every signature once and compare with PyTorch.

    The converter does not check itself: it also writes operators that no kernel exists for.
    """
    import torch
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # XNNPACK would pack the weights per length
    form = {"experimental_op_resolver_type": plain, "num_threads": usable_cores()}
    for length in lengths:
        ids = _sample(module, length)
        try:
            runner = Interpreter(str(path), **form).get_signature_runner(signature_name(length))
            (found,) = runner(args_0=ids.numpy()).values()
        except (RuntimeError, ValueError) as error:
            raise _without_kernel(str(error), model, nodes) from None
        with torch.no_grad():
            expected = module(ids).numpy()
        deviation = np.abs(found - expected).max() / np.abs(expected).max()
        if not deviation <= TOLERANCE:
            raise UserError(
                f"length {length}: litert-torch converts this encoder wrongly (token vectors are off by "
                f"{deviation:.1%} of the largest component, at most {TOLERANCE:.0%} is rounding)"
            )


def _explained(source: Source, message: str, nodes: list[Any]) -> UserError:
    """The error for a conversion that failed, with the operator and the module where it tells them."""
    for node in nodes:
        if f"%{node.name} :" in message and f"target=torch.ops.{node.target}]" in message:
            return _unsupported(str(node.target), _module_of(node), message)
    place = re.search(r"(\S+):(\d+):\d+: error: .*?'(\w+\.\w+)'", message)
    for node in nodes:
        if place and f'File "{place[1]}", line {place[2]},' in (node.stack_trace or ""):
            return _unsupported(place[3], _module_of(node), message)
    return UserError(f"{source.name}: litert-torch cannot convert this encoder ({_reason(message)})")


def _without_kernel(message: str, model: schema.ModelT, nodes: list[Any]) -> UserError:
    """The error for a file that LiteRT cannot run; its tensors have the names of torch scopes."""
    from litert_torch.backend.debuginfo import build_mlir_debuginfo

    modules = {build_mlir_debuginfo(node): _module_of(node) for node in nodes}
    blamed = re.search(r"opcode '(\w+)'|\((\w+)\) failed", message)
    kind = (blamed[1] or blamed[2]) if blamed else "?"
    for graph in model.subgraphs:
        for one in graph.operators:
            scope = graph.tensors[one.outputs[0]].name.decode().split(";")[0] + ";"
            code = builtin_code(model.operatorCodes[one.opcodeIndex])
            if scope in modules and code == getattr(schema.BuiltinOperator, kind, None):
                return _unsupported(kind, modules[scope], message)
    return _unsupported(kind, "?", message)


def _unsupported(kind: str, module: str, message: str = "") -> UserError:
    because = f" ({_reason(message)})" if message else ""
    return UserError(f"operator {kind} of module {module}: LiteRT has no form for it{because}")


def _module_of(node: Any) -> str:
    """Path, within the backbone, of the torch module that a traced operator came from."""
    paths = [path for path, _ in node.meta.get("nn_module_stack", {}).values() if path]
    inner = paths[-1].removeprefix("backbone").removeprefix(".") if paths else ""
    return inner or "(the encoder itself)"


def _reason(message: str) -> str:
    """First sentence of an error, without file names."""
    return re.split(r"\n|\. |: %", re.sub(r"\S+:\d+:\d+: ", "", message.strip()))[0]


def _rename(model: schema.ModelT, weights: Mapping[int, Array], parameters: Mapping[str, Any]) -> None:
    """Give matrices the names of the parameters that they hold, and small or computed tensors none.

    No two buffers get one name: ModelBuilder shares what is stored under a name.
    """
    matrices = {name: array(value) for name, value in parameters.items() if value.ndim == 2}
    names: dict[int, str] = {}
    for graph in model.subgraphs:
        graph.inputs, graph.outputs = list(graph.inputs), list(graph.outputs)
        for tensor in graph.tensors:
            value = weights.get(tensor.buffer, np.empty(0, np.uint8))
            if value.size >= NAMED_BYTES and tensor.buffer not in names:
                held = None
                if tensor.type == schema.TensorType.FLOAT32 and len(tensor.shape) == 2:
                    held = _held(value.view(np.float32).reshape(tensor.shape), matrices)
                name = held or tensor.name.decode()
                taken = name in names.values()
                names[tensor.buffer] = f"{name}#{tensor.buffer}" if taken else name
            tensor.name = names.get(tensor.buffer, "")


def _held(value: Array, matrices: Mapping[str, Array]) -> str | None:
    """Name of the parameter that a constant holds, as it is or times a factor per column.

    The converter multiplies the weight of a normalisation into the matrices that follow it.
    """
    rows = slice(len(value) // 2, len(value) // 2 + 2)
    for name, matrix in matrices.items():
        if matrix.shape == value.shape and matrix[rows].any() and value[rows].any():
            one, other = value[rows][0] * matrix[rows][-1], value[rows][-1] * matrix[rows][0]
            if np.abs(one - other).max() <= 1e-4 * np.abs(one).max():  # rounding
                return name
    return None
