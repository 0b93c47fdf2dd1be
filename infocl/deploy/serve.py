"""`infocl serve`: an exported encoder behind KServe's model server."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infocl.deploy.session import OnnxEncoder
from infocl.deploy.trust import open_trusted
from infocl.results.card import Tensor
from infocl.runtime.errors import UserError, one_line

NAME = "encoder"
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}


def serve_folder(
    folder: Path, variant: str, *, host: str, port: int, grpc_port: int | None, signers: Path | None
) -> None:
    """Serve a variant as the model `encoder` over the Open Inference Protocol (KServe v2), until stopped.

    Args:
        folder: the exported one.
        variant: one that it ships.
        host: address to listen at; 0.0.0.0 for every network interface. There is no access control.
        port: of HTTP.
        grpc_port: of gRPC; None leaves it off.
        signers: of the encoder, as in `open_trusted`.

    Raises:
        UserError: the folder cannot be used, the host is not of this machine, or a port is taken.
    """
    encoder = open_trusted(folder, variant, signers)
    for option, wanted in (("--port", port), ("--grpc-port", grpc_port)):
        if wanted is not None:
            _require_free(host, option, wanted)
    sys.argv = sys.argv[:1]  # KServe reads options of its own from the command line when it is imported
    model = _model(encoder)
    from infocl.deploy.server import Server

    Server(host, port, grpc_port).start([model])


def _require_free(host: str, option: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"--host {host} {option} {port} cannot be used ({reason}); name another") from None


def _model(encoder: OnnxEncoder) -> Any:
    """What KServe's server asks of a model; a class in here, because KServe is imported on demand."""
    from kserve import InferRequest, InferResponse, Model
    from kserve.errors import InvalidInput
    from kserve.protocol.infer_type import InferOutput

    def images_of(request: Any) -> npt.NDArray[np.uint8]:
        if not isinstance(request, InferRequest):
            raise InvalidInput("only the Open Inference Protocol v2 is served; ask /v2/models/encoder/infer")
        return _images([(part.name, part.datatype, part.shape, part.as_numpy) for part in request.inputs])

    class Served(Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(NAME)
            self.ready = True

        def get_input_types(self) -> list[dict[str, Any]]:
            return [_tensor(encoder.file.input)]

        def get_output_types(self) -> list[dict[str, Any]]:
            return [_tensor(encoder.export.card.output)]

        async def predict(self, payload: Any, headers: Any = None) -> Any:
            try:
                # In a thread, so that the server stays able to say that it lives.
                embeddings = await asyncio.to_thread(encoder.embed, images_of(payload))
            except UserError as error:
                raise InvalidInput(str(error)) from None
            output = InferOutput(
                encoder.export.card.output.name, list(embeddings.shape), DATATYPES["float32"]
            )
            output.set_data_from_numpy(embeddings, binary_data=payload.use_binary_outputs)
            return InferResponse(
                payload.id or "",
                NAME,
                [output],
                use_binary_outputs=payload.use_binary_outputs,
                requested_outputs=payload.request_outputs,
            )

    return Served()


def _images(inputs: list[tuple[str, str, list[int], Any]]) -> npt.NDArray[np.uint8]:
    """The images of a request.

    Raises:
        UserError: it holds something else.
    """
    names = [name for name, *_ in inputs]
    if names != ["image"]:
        raise UserError(f"the request has the inputs {names}; give one, image")
    _, datatype, shape, as_numpy = inputs[0]
    if datatype != "UINT8" or len(shape) != 4 or shape[3] != 3 or min(shape[1:]) < 1:
        raise UserError(f"image is {datatype} {shape}; give UINT8 [N, H, W, 3]")
    try:
        images: npt.NDArray[np.uint8] = as_numpy()
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"image cannot be read ({error}); give {np.prod(shape)} numbers from 0 to 255"
        ) from None
    return images


def _tensor(declared: Tensor) -> dict[str, Any]:
    """A tensor of `encoder.json` in the words of the protocol, where -1 stands for any size."""
    shape = [size if isinstance(size, int) else -1 for size in declared.shape]
    return {"name": declared.name, "datatype": DATATYPES[declared.dtype], "shape": shape}
