"""The Open Inference Protocol V2 over HTTP: a request's images, and the answer, as JSON or binary tensors."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infocl.deploy.serving.limits import JSON_BYTES, Limits, RequestError
from infocl.results.card import Tensor

Images = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]
HEADER_LENGTH = "inference-header-content-length"
INPUT, OUTPUT = "image", "embedding"
DATATYPES = {"uint8": "UINT8", "float32": "FP32"}
LONGEST_ID = 1000  # characters


@dataclass(frozen=True)
class Question:
    """The images of a request, uint8 (N, H, W, 3), its name for itself, and how it wants the answer."""

    images: Images
    id: str | None
    binary: bool


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _InputParameters(_Part):
    binary_data_size: int | None = None


class _Input(_Part):
    name: str
    datatype: str
    shape: Annotated[list[int], Field(max_length=8)]
    parameters: _InputParameters = _InputParameters()
    data: list[Any] | None = None


class _OutputParameters(_Part):
    binary_data: bool | None = None


class _Output(_Part):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _Parameters(_Part):
    binary_data_output: bool = False


class _Request(_Part):
    id: Annotated[str | None, Field(max_length=LONGEST_ID)] = None
    inputs: list[_Input]
    outputs: Annotated[list[_Output], Field(max_length=1)] = []
    parameters: _Parameters = _Parameters()


def read_question(body: bytes, header_length: str | None, limits: Limits) -> Question:
    """What a request asks for.

    Args:
        body: JSON, and with `header_length` the bytes of a tensor after it.
        header_length: the header Inference-Header-Content-Length, the length of the JSON.
        limits: of pixels and images.

    Raises:
        RequestError: with the reason (400, or 413 for more JSON than is read).
    """
    length = _length(body, header_length)
    if length > JSON_BYTES:
        raise RequestError(
            413, f"the request has {length} bytes of JSON, but {JSON_BYTES} are the most; send binary tensors"
        )
    request = _parse(body[:length])
    names = [part.name for part in request.inputs]
    if names != [INPUT]:
        raise RequestError(400, f"the request has the inputs {names[:8]}; give one, {INPUT}")
    for output in request.outputs:
        if output.name != OUTPUT:
            raise RequestError(400, f"the output {output.name[:80]!r} is not known; ask for {OUTPUT}")
    (part,) = request.inputs
    shape = check_shape(part.datatype, part.shape, limits)
    size = part.parameters.binary_data_size
    rest = memoryview(body)[length:]
    if size is None and rest:
        raise RequestError(400, f"{len(rest)} bytes follow the JSON, but {INPUT} has no binary_data_size")
    if size is None:
        images = _listed(part.data, shape)
    elif part.data is not None:
        raise RequestError(400, f"{INPUT} has both data and binary_data_size; give one of them")
    elif size != len(rest):
        raise RequestError(400, f"binary_data_size is {size}, but {len(rest)} bytes follow the JSON")
    else:
        images = images_of(rest, shape)
    asked = request.outputs[0].parameters.binary_data if request.outputs else None
    binary = request.parameters.binary_data_output if asked is None else asked
    return Question(images, request.id, binary)


def check_shape(datatype: str, shape: list[int], limits: Limits) -> tuple[int, int, int, int]:
    """The shape N, H, W, 3 of images that may be embedded.

    Raises:
        RequestError: it is of something else, or of more than the limits allow (400).
    """
    if datatype != "UINT8" or len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise RequestError(400, f"{INPUT} is {datatype[:80]} {shape}; give UINT8 [N, H, W, 3]")
    count, height, width, channels = shape
    if count > limits.batch:
        raise RequestError(
            400, f"the request has {count} images, but {limits.batch} are the most; send several"
        )
    pixels = count * height * width
    if pixels > limits.pixels:
        raise RequestError(
            400,
            f"the request has {pixels} pixels, but {limits.pixels} are the most; send fewer or smaller ones",
        )
    return count, height, width, channels


def images_of(data: bytes | memoryview, shape: tuple[int, int, int, int]) -> Images:
    """Images of raw bytes, without a copy.

    Raises:
        RequestError: there are more or fewer bytes than the shape has numbers (400).
    """
    if len(data) != math.prod(shape):
        raise RequestError(400, f"{INPUT} holds {len(data)} numbers, but its shape has {math.prod(shape)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not header_length.isascii() or not header_length.isdigit() or int(header_length[:20]) > len(body):
        raise RequestError(
            400,
            f"Inference-Header-Content-Length is {header_length[:80]!r}, but the body has {len(body)} bytes",
        )
    return int(header_length)


def _parse(text: bytes) -> _Request:
    try:
        return _Request.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the request"
        raise RequestError(400, f"{key} is not usable ({first['msg']})") from None


def _listed(data: list[Any] | None, shape: tuple[int, int, int, int]) -> Images:
    """Images from JSON's numbers, flat or nested; 1.0, true and null are no such numbers."""
    if data is None:
        raise RequestError(400, f"{INPUT} has neither data nor binary_data_size")
    numbers = data
    try:
        while numbers and isinstance(numbers[0], list):
            numbers = list(chain.from_iterable(numbers))
        if set(map(type, numbers)) - {int}:
            raise TypeError
        return images_of(bytes(numbers), shape)
    except (TypeError, ValueError, OverflowError):
        raise RequestError(
            400,
            f"the data of {INPUT} hold something else than {math.prod(shape)} whole numbers from 0 to 255",
        ) from None


def answer(embeddings: Embeddings, question: Question, model: str) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of an answer."""
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(embeddings.shape)}
    message: dict[str, Any] = {"model_name": model, "outputs": [output]}
    if question.id is not None:
        message["id"] = question.id
    if not question.binary:
        output["data"] = embeddings.ravel().tolist()
        return json.dumps(message).encode(), {"content-type": "application/json"}
    raw = embeddings.astype("<f4", copy=False).tobytes()
    output["parameters"] = {"binary_data_size": len(raw)}
    text = json.dumps(message).encode()
    return text + raw, {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(text))}


def described(declared: Tensor) -> dict[str, Any]:
    """A tensor of `encoder.json` in the words of the protocol, where -1 stands for any size."""
    shape = [size if isinstance(size, int) else -1 for size in declared.shape]
    return {"name": declared.name, "datatype": DATATYPES[declared.dtype], "shape": shape}
