"""The module as an OCI layout: the same bytes every time, as Istio's agent wants them, and the same out of a registry."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lab import until
from lab.config import ROOT, lean_module, module
from lab.process import Process
from lab.waiting import PROGRAM_S

_SPEC = importlib.util.spec_from_file_location("oci", ROOT / "envoy/oci.py")
oci = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(oci)

MODULES = {"": Path(module()).read_bytes(), "lean-": Path(lean_module()).read_bytes()}


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    directory = tmp_path_factory.mktemp("oci") / "layout"
    subprocess.run(["python3", ROOT / "envoy/oci.py", "--lean", lean_module(), module(), directory, "1.2.3"], check=True,
                   stdout=subprocess.PIPE)
    return directory


class Found:
    """A layout as somebody reads it who has no other knowledge of it."""

    def __init__(self, directory):
        self.directory = directory
        index = json.loads((directory / "index.json").read_text())
        self.tags = {one["annotations"]["org.opencontainers.image.ref.name"]: one for one in index["manifests"]}

    def blob(self, descriptor):
        data = (self.directory / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
        assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
        assert len(data) == descriptor["size"]
        return data

    def manifests(self, tag):
        """The tag's manifest, or one for each platform."""
        document = json.loads(self.blob(self.tags[tag]))
        return [json.loads(self.blob(one)) for one in document["manifests"]] if "manifests" in document else [document]

    def by_the_image_s_rule(self, manifest):
        """What Istio takes out of an image: `plugin.wasm` of the last layer, a tar in gzip."""
        last = manifest["layers"][-1]
        assert last["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(self.blob(last)))) as tar:
            return tar.extractfile("plugin.wasm").read()

    def by_the_artifact_s_rule(self, manifest):
        """And of an artifact: of exactly two layers the one of the module's type, as it is."""
        assert len(manifest["layers"]) == 2
        (layer,) = [one for one in manifest["layers"]
                    if one["mediaType"] == "application/vnd.module.wasm.content.layer.v1+wasm"]
        return self.blob(layer)


def fits(directory):
    found = Found(directory)
    for name, wasm in MODULES.items():
        images = found.manifests(f"{name}image") + found.manifests(f"{name}volume")
        (artifact,) = found.manifests(f"{name}artifact")
        assert [found.by_the_image_s_rule(one) == wasm for one in images] == [True] * 3
        assert found.by_the_artifact_s_rule(artifact) == wasm
        for one in images:
            config = json.loads(found.blob(one["config"]))
            unpacked = gzip.decompress(found.blob(one["layers"][0]))
            assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(unpacked).hexdigest()]


def test_a_digest_that_istio_checks_is_that_of_a_manifest(layout):
    for tag in ("image", "artifact"):
        assert "layers" in json.loads(Found(layout).blob(Found(layout).tags[tag])), "not an index"


def test_both_forms_are_what_istio_s_agent_takes(layout):
    fits(layout)


def test_the_same_module_makes_the_same_bytes(layout, tmp_path):
    digests = oci.write(MODULES, tmp_path / "again", "1.2.3")
    again = {path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*") if path.is_file()}
    first = {path.relative_to(layout): path.read_bytes() for path in layout.rglob("*") if path.is_file()}
    assert first == again
    assert digests == {tag: one["digest"] for tag, one in Found(layout).tags.items()}
    assert os.getcwd().encode() not in b"".join(again.values())


def test_out_of_a_registry_comes_what_went_in(layout, tmp_path):
    for tool in ("skopeo", "docker-registry"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} isn't there, and Debian's package of it couldn't be had")
    with registry(tmp_path) as address:
        for tag in Found(layout).tags:
            there, back = f"docker://{address}/spillway:{tag}", f"oci:{tmp_path / 'back'}:{tag}"
            skopeo("--dest-tls-verify=false", f"oci:{layout}:{tag}", there)
            skopeo("--src-tls-verify=false", there, back)
    pulled, pushed = Found(tmp_path / "back"), Found(layout)
    assert {tag: one["digest"] for tag, one in pulled.tags.items()} == {t: one["digest"] for t, one in pushed.tags.items()}
    fits(tmp_path / "back")


def skopeo(*arguments):
    done = subprocess.run(["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", *arguments],
                          capture_output=True, text=True, check=False, timeout=PROGRAM_S)
    assert done.returncode == 0, done.stderr


class registry:
    """Debian's docker-registry on a free port of loopback; its log says on which."""

    def __init__(self, directory):
        self.config, self.log = directory / "registry.yml", directory / "registry.log"
        self.config.write_text(json.dumps({"version": "0.1", "http": {"addr": "127.0.0.1:0"}, "storage": {
            "filesystem": {"rootdirectory": str(directory / "registry")}}}))

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = Process(["docker-registry", "serve", str(self.config)], log)
        return until(self._listening, what="the registry")

    def _listening(self):
        said = self.log.read_text()
        assert self.process.running(), said
        listening = re.search(r"listening on (127\.0\.0\.1:\d+)", said)
        return listening and listening[1]

    def __exit__(self, *_):
        self.process.stop()
