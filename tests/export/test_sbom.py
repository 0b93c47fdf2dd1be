"""The bill of materials of an export: valid by CycloneDX's own schema, and complete."""

from __future__ import annotations

import json
from importlib import metadata

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.export.test_export import EXPORT

FILE = "sbom.cdx.json"


def test_it_is_valid_and_names_every_file_and_package(project):
    text = (EXPORT / FILE).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert "timestamp" not in bill["metadata"]
    files = {part["name"]: part["hashes"] for part in bill["components"] if part["type"] == "file"}
    listed = dict(reversed(line.split("  ")) for line in (EXPORT / "SHA256SUMS").read_text().splitlines())
    assert listed.pop(FILE)
    assert files == {name: [{"alg": "SHA-256", "content": digest}] for name, digest in listed.items()}
    packages = {part["purl"] for part in bill["components"] if "purl" in part}
    for name in ("torch", "onnx", "onnxruntime", "infocl"):
        assert f"pkg:pypi/{name}@{metadata.version(name).replace('+', '%2B')}" in packages
    assert len(packages) == len({part["bom-ref"] for part in bill["components"]}) - len(files)
