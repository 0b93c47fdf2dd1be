"""A software bill of materials: the files of an export, and the packages of the environment that made it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from infocl.runtime.files import sha256_file

SBOM_FILE = "sbom.cdx.json"


def bill_of_materials(folder: Path, weights_sha256: str) -> str:
    """CycloneDX 1.6 as JSON; the same for the same files and packages, so without the time of making.

    Args:
        folder: whose files are listed with their SHA-256.
        weights_sha256: the version of the model that it describes.
    """
    parts = [*_files(folder), *_packages()]
    model = Component(name="encoder", version=weights_sha256, type=ComponentType.MACHINE_LEARNING_MODEL)
    model.bom_ref.value = "encoder"
    said = "".join(
        f"{part.bom_ref.value} {[str(value.content) for value in part.hashes]}\n" for part in parts
    )
    bom = Bom(
        components=parts,
        metadata=BomMetaData(component=model),
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"{weights_sha256}\n{said}"),
    )
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.register_dependency(model, parts)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"


def _files(folder: Path) -> Iterable[Component]:
    for path in sorted(folder.iterdir()):
        yield Component(
            name=path.name,
            type=ComponentType.FILE,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256_file(path))],
            bom_ref=path.name,
        )


def _packages() -> Iterable[Component]:
    purls = {
        str(PackageURL("pypi", name=each.name, version=each.version)) for each in metadata.distributions()
    }
    for text in sorted(purls):
        purl = PackageURL.from_string(text)
        yield Component(name=purl.name, version=purl.version, purl=purl, bom_ref=text)
