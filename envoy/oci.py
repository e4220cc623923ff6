#!/usr/bin/env python3
"""Writes the module as an OCI layout, in both forms that Istio's agent takes, the same bytes every time.

    oci.py [--lean MODULE] MODULE LAYOUT [VERSION]

The layout's tags; those of the module without the schema engine begin with `lean-`:

  image      an image whose one layer holds `plugin.wasm`
  artifact   Istio's other form: two layers, one of them the module as it is
  volume     the image for both architectures that nodes have: for Kubernetes' image volumes, which ask for their node's

Istio's rules (pkg/wasm/imagefetcher.go): of an image the last layer, a `tar+gzip`, has a file `plugin.wasm`; of an
artifact there are exactly two layers, one of the media type below. A checksum is that of the manifest, so the image for
Istio isn't an index, whose digest would never agree. No time, no name of a machine or a user goes in; what could still
differ is how another zlib packs.
"""

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

OCI = "application/vnd.oci.image."
WASM = "application/vnd.module.wasm."
ARCHITECTURES = ("amd64", "arm64")
TITLES = {"": "Spillway", "lean-": "Spillway, lean"}


def encoded(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """A directory of blobs, each under its digest."""

    def __init__(self, directory):
        self.directory = Path(directory)
        (self.directory / "blobs/sha256").mkdir(parents=True, exist_ok=True)

    def blob(self, media_type, data, **more):
        """Keeps the bytes; answers their descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        (self.directory / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def manifest(self, config, layers, notes, **more):
        document = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": config, "layers": layers,
                    "annotations": notes}
        return self.blob(OCI + "manifest.v1+json", encoded(document), **more)

    def finish(self, tags):
        named = [{**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
                 for tag, descriptor in tags.items()]
        (self.directory / "oci-layout").write_bytes(encoded({"imageLayoutVersion": "1.0.0"}))
        (self.directory / "index.json").write_bytes(
            encoded({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": named}))


def tarred(module):
    """The module as `plugin.wasm` in a tar without a past."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo("plugin.wasm")
        entry.size, entry.mode = len(module), 0o644
        tar.addfile(entry, io.BytesIO(module))
    return out.getvalue()


def images(layout, module, notes):
    """The image for each architecture, and the index of them."""
    tar = tarred(module)
    layer = layout.blob(OCI + "layer.v1.tar+gzip", gzip.compress(tar, 9, mtime=0))
    manifests = []
    for architecture in ARCHITECTURES:
        config = {"architecture": architecture, "os": "linux", "config": {"Labels": notes},
                  "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]}}
        described = layout.blob(OCI + "config.v1+json", encoded(config))
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(layout.manifest(described, [layer], notes, platform=platform))
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": manifests, "annotations": notes}
    return manifests[0], layout.blob(OCI + "index.v1+json", encoded(index))


def artifact(layout, module, notes):
    runtime = encoded({"type": "envoy_proxy", "abiVersions": ["v0-2-1"], "config": {"rootIds": ["spillway"]}})
    layers = [layout.blob(WASM + "config.v1+json", runtime), layout.blob(WASM + "content.layer.v1+wasm", module)]
    return layout.manifest(layout.blob(WASM + "config.v1+json", b"{}"), layers, notes)


def write(modules, directory, version):
    """Writes the layout of modules, bytes by what their tags begin with; answers the digests by tag."""
    layout, tags = Layout(directory), {}
    for name, module in modules.items():
        notes = {"org.opencontainers.image.title": TITLES[name], "org.opencontainers.image.version": version,
                 "org.opencontainers.image.licenses": "Apache-2.0"}
        image, volume = images(layout, module, notes)
        tags |= {f"{name}image": image, f"{name}artifact": artifact(layout, module, notes), f"{name}volume": volume}
    layout.finish(tags)
    return {tag: descriptor["digest"] for tag, descriptor in tags.items()}


def read(file):
    module = Path(file).read_bytes()
    if module[:4] != b"\0asm":
        sys.exit(f"{file} isn't a WebAssembly module")
    return module


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lean", metavar="MODULE", help="the module without the schema engine, beside the other")
    parser.add_argument("module")
    parser.add_argument("layout", help="a directory")
    parser.add_argument("version", nargs="?", default="0")
    arguments = parser.parse_args()
    modules = {"": read(arguments.module)}
    if arguments.lean:
        modules["lean-"] = read(arguments.lean)
    for tag, digest in write(modules, arguments.layout, arguments.version).items():
        print(f"{tag:13} {digest}")


if __name__ == "__main__":
    main()
