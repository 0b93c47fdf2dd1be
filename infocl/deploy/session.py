"""Opening an ONNX file of an export: it must be the described one, and whole in itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from infocl.deploy.about import MEND, Export, ModelFile
from infocl.errors import UserError

ERRORS_ONLY = 3  # of onnxruntime's levels; its remarks on how it optimises are not for users
TYPES = {"uint8": "tensor(uint8)", "float32": "tensor(float)"}


class Encoder:
    """An ONNX file of an export, opened on the CPU.

    Args:
        export: the folder it lies in.
        variant: one that is shipped.
        prepared: take the file for prepared images, float32 (N, 3, S, S) in [0, 1], instead.

    Raises:
        UserError: the file is missing, is not the one described, keeps weights in other files, or
            onnxruntime refuses it.
    """

    def __init__(self, export: Export, variant: str, *, prepared: bool = False) -> None:
        self.export, self.variant = export, variant
        self.prepared = prepared
        self.file: ModelFile = export.about.float_input if prepared else export.variant(variant)
        self.path = export.folder / self.file.file
        data = self._read()
        refuse_external_data(data, self.path.name)
        self.session = self._open(data)
        self._check_interface()

    def embed(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Embeddings (N, D) of images as the file takes them: uint8 (N, H, W, 3), or prepared ones."""
        feed = {self.file.input.name: np.ascontiguousarray(images)}
        (embeddings,) = self.session.run([self.export.about.output.name], feed)
        return np.asarray(embeddings)

    @property
    def metadata(self) -> dict[str, str]:
        """The texts that the export wrote into the file."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def _read(self) -> bytes:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"{self.path} is missing; {MEND}") from None
        if hashlib.sha256(data).hexdigest() != self.file.sha256:
            raise UserError(
                f"{self.path} is not the file that encoder.json describes (SHA-256 differs); "
                "copy the folder again as a whole"
            )
        return data

    def _open(self, data: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"onnxruntime {onnxruntime.__version__} refuses {self.path} ({reason}); use one of the "
                f"versions named in {self.export.folder / 'README.md'}"
            ) from None

    def _check_interface(self) -> None:
        output = self.export.about.output
        sides = ((self.session.get_inputs(), self.file.input), (self.session.get_outputs(), output))
        for found, said in sides:
            real = [(node.name, node.type, list(node.shape)) for node in found]
            promised = [(said.name, TYPES[said.dtype], said.shape)]
            if real != promised:
                raise UserError(
                    f"{self.path} has {_words(real)}, but encoder.json says {_words(promised)}; {MEND}"
                )
        if output.shape != ["N", self.export.about.dim]:
            raise UserError(
                f"encoder.json says dim {self.export.about.dim} and output {output.shape}; {MEND}"
            )


def _words(nodes: Iterable[tuple[Any, Any, Any]]) -> str:
    return " and ".join(f"{name} {kind} {shape}" for name, kind, shape in nodes)


def refuse_external_data(data: bytes, name: str) -> None:
    """Refuse a model whose weights lie in other files, which could be any file of the machine.

    Raises:
        UserError: so it is, or the bytes are no ONNX model.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception:  # protobuf's own error, which has no typed home
        raise UserError(f"{name} is not an ONNX file; copy the folder again as a whole") from None
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "unnamed")
            raise UserError(
                f"{name} keeps weights in another file ({where!r}), which is never loaded; ask for an export "
                "with the weights inside"
            )


def _tensors(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor at every depth: initialisers, attributes, subgraphs, functions."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if isinstance(value, Iterable) else [value]:
                yield from _tensors(part)
