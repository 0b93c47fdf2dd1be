"""Opening an ONNX file of an export: it must be the described one, and whole in itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from infocl.deploy.exported import Export
from infocl.deploy.plain import COPY_AGAIN, LARGEST_FILE, read_plain
from infocl.results.card import HINT, ModelFile
from infocl.runtime.errors import UserError, one_line

FATAL_ONLY = 4  # of onnxruntime's levels; its errors are raised as well, and its remarks are not for users
REPEATING = ("Loop", "Scan")  # run as often as their model says, maybe without end
TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


class OnnxEncoder:
    """An ONNX file of an export, opened on the CPU.

    Args:
        export: the folder it lies in.
        variant: one that is shipped.
        prepared: take the file for prepared images, float32 (N, 3, S, S) in [0, 1], instead.
        threads: that compute; 0: as many as the machine has cores.

    Raises:
        UserError: the file is missing, is not the one described, keeps weights in other files, has a
            loop or functions, or onnxruntime refuses it.
    """

    def __init__(self, export: Export, variant: str, *, prepared: bool = False, threads: int = 0) -> None:
        self.export, self.variant, self.threads = export, variant, threads
        self.prepared = prepared
        self.file: ModelFile = export.card.float_input if prepared else export.variant(variant)
        self.path = export.folder / self.file.file
        data = read_model(self.path, self.file)
        refuse_hostile(data, self.path.name)
        self.session = self._open(data)
        self._check_interface()

    def embed(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeddings (N, D) of images as the file takes them: uint8 (N, H, W, 3), or prepared ones.

        Raises:
            UserError: onnxruntime cannot run the model, or it gives something else.
        """
        feed = {self.file.input.name: np.ascontiguousarray(images)}
        try:
            (embeddings,) = self.session.run([self.export.card.output.name], feed)
        except Exception as error:  # onnxruntime's own errors have no common type
            raise self._refused(f"cannot run {self.path} on images {images.shape}", error) from None
        if embeddings.shape != (len(images), self.export.card.dim):
            raise UserError(f"{self.path} gives {embeddings.shape} for images {images.shape}; {HINT}")
        return np.asarray(embeddings)

    @property
    def metadata(self) -> dict[str, str]:
        """The texts that the export wrote into the file."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def _open(self, data: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL_ONLY
        options.intra_op_num_threads = self.threads
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise self._refused(f"refuses {self.path}", error) from None

    def _refused(self, what: str, error: Exception) -> UserError:
        return UserError(
            f"onnxruntime {onnxruntime.__version__} {what} ({one_line(error)}); use one of the versions "
            f"named in {self.export.folder / 'README.md'}, or ask for another export"
        )

    def _check_interface(self) -> None:
        output = self.export.card.output
        sides = ((self.session.get_inputs(), self.file.input), (self.session.get_outputs(), output))
        for found, declared in sides:
            real = [(node.name, node.type, list(node.shape)) for node in found]
            promised = [(declared.name, TYPES[declared.dtype], declared.shape)]
            if real != promised:
                raise UserError(
                    f"{self.path} has {_words(real)}, but encoder.json says {_words(promised)}; {HINT}"
                )
        if output.shape != ["N", self.export.card.dim]:
            raise UserError(f"encoder.json says dim {self.export.card.dim} and output {output.shape}; {HINT}")


def read_model(path: Path, described: ModelFile) -> bytes:
    """The bytes of a described ONNX file.

    Raises:
        UserError: it cannot be read, or is another file.
    """
    data = read_plain(path, LARGEST_FILE, HINT)
    if hashlib.sha256(data).hexdigest() != described.sha256:
        raise UserError(f"{path} is not the file that encoder.json describes (SHA-256 differs); {COPY_AGAIN}")
    return data


def _words(nodes: Iterable[tuple[Any, Any, Any]]) -> str:
    return " and ".join(f"{name} {kind} {shape}" for name, kind, shape in nodes)


def refuse_hostile(data: bytes, name: str) -> None:
    """Refuse a model whose weights lie in other files, which could be any file of the machine, or with loops.

    Functions are refused, too: forty that each call the one before twice unfold to 2^40 nodes.

    Raises:
        UserError: so it is, or the bytes are no ONNX model.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own error, which has no typed home
        raise UserError(f"{name} is not an ONNX file; copy the folder again as a whole") from None
    for part in _parts(model):
        if isinstance(part, onnx.NodeProto) and part.op_type in REPEATING:
            raise UserError(f"{name} contains the operator {part.op_type}, which no encoder needs; {HINT}")
        if isinstance(part, onnx.FunctionProto):
            raise UserError(f"{name} contains the function {part.name}, which no encoder needs; {HINT}")
        if isinstance(part, onnx.TensorProto) and (
            part.data_location == onnx.TensorProto.EXTERNAL or part.external_data
        ):
            where = {entry.key: entry.value for entry in part.external_data}.get("location", "unnamed")
            raise UserError(
                f"{name} keeps weights in another file ({where!r}), which is never loaded; ask for an export "
                "with the weights inside"
            )


def _parts(message: Any) -> Iterator[Any]:
    """A message and all below it: nodes, tensors, attributes, subgraphs, functions."""
    yield message
    if isinstance(message, onnx.TensorProto):
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Iterable) else [value]:
                yield from _parts(part)
