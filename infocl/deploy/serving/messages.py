"""The messages of the Open Inference Protocol's gRPC service, declared by the numbers of their fields.

In a pool of their own, so that a client library of the same process may have them too.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
_TENSOR = "name=1:string datatype=2:string shape=3:int64*"
_MODEL = "name=1:string version=2:string"
# A star marks a repeated field. Fields that nobody here reads are left out: protobuf passes them by.
MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live=1:bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready=1:bool",
    "ModelReadyRequest": _MODEL,
    "ModelReadyResponse": "ready=1:bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name=1:string version=2:string extensions=3:string*",
    "ModelMetadataRequest": _MODEL,
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": "name=1:string versions=2:string* platform=3:string inputs=4:TensorMetadata* "
    "outputs=5:TensorMetadata*",
    "InferTensorContents": "uint_contents=4:uint32*",
    "InferInputTensor": f"{_TENSOR} contents=5:InferTensorContents",
    "InferRequestedOutputTensor": "name=1:string",
    "ModelInferRequest": "model_name=1:string id=3:string inputs=5:InferInputTensor* "
    "outputs=6:InferRequestedOutputTensor* raw_input_contents=7:bytes*",
    "InferOutputTensor": _TENSOR,
    "ModelInferResponse": "model_name=1:string id=3:string outputs=5:InferOutputTensor* "
    "raw_output_contents=6:bytes*",
}
_Field = descriptor_pb2.FieldDescriptorProto


def _declare(message: Any, name: str, fields: str) -> None:
    message.name = name
    for declared in fields.split():
        label, _, kind = declared.partition(":")
        field_name, _, number = label.partition("=")
        field = message.field.add(name=field_name, number=int(number))
        field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
        kind = kind.removesuffix("*")
        if kind in MESSAGES:
            field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
        else:
            field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


def _load() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="infocl_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        _declare(file.message_type.add(), name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


TYPES = _load()
