"""Packages the chart as a release has it, and installs it from the packaged file.

    chart_package.py FOLDER REGISTRY

The chart in the repository names an image that somebody has built; the packaged one names REGISTRY's.
"""

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

import helm_sdkpy as helm

from api_stub import Stub
from chart import CHART, check, failures, objects, run

REPOSITORY = re.compile(r"^  repository: scope-http-requests$", re.M)


def package(folder, registry):
    with tempfile.TemporaryDirectory() as work:
        copy = Path(shutil.copytree(CHART, Path(work) / CHART.name))
        values = copy / "values.yaml"
        text, changed = REPOSITORY.subn(f"  repository: {registry}/{CHART.name}", values.read_text())
        check("the chart's image is named in one place", changed == 1, changed)
        values.write_text(text)
        return Path(asyncio.run(helm.Package(helm.Configuration(kubeconfig=Stub("1.33.0").kubeconfig())).run(str(copy), str(folder))))


def main():
    folder, registry = Path(sys.argv[1]), sys.argv[2]
    packaged = package(folder, registry)
    version = packaged.stem.removeprefix(f"{CHART.name}-")
    stub = Stub("1.33.0")
    config = helm.Configuration(kubeconfig=stub.kubeconfig())
    lint = asyncio.run(helm.Lint(config).run(str(packaged)))
    check("lint of the packaged chart", not lint["Errors"], lint["Errors"])
    result = run(helm.Install, stub, CHART.name, {}, packaged)
    pod = next(document for document in objects(result["manifest"]) if document["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    image = pod["containers"][0]["image"]
    check("the packaged chart's image is the release's", image == f"{registry}/{CHART.name}:{version}", image)
    check("how to build is not said of an image that is published", "docker build" not in result["info"]["notes"])
    if failures:
        sys.exit(f"chart: {len(failures)} failed")
    print(f"chart: {packaged.name} installs from the file, with the image {image}")


main()
