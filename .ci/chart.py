"""What the chart's checks share: Helm, what it renders, and what failed."""

import asyncio
import re
from pathlib import Path

import helm_sdkpy as helm
import yaml

from api_stub import Stub

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm/scope-http-requests"
MANIFESTS = ROOT / "deploy/manifests"
# The oldest that Chart.yaml admits, the newest that the schemas cover, and some between.
VERSIONS = ["1.25", "1.27", "1.29", "1.30", "1.31", "1.33", "1.35", "1.36", "1.37"]

failures = []


def check(what, holds, why=""):
    if not holds:
        failures.append(what)
        print(f"FAILED: {what}{': ' + str(why) if why else ''}")


def run(action, stub, release, values, chart=CHART, namespace="weave", **options):
    config = helm.Configuration(namespace=namespace, kubeconfig=stub.kubeconfig())
    return asyncio.run(action(config).run(release, str(chart), values=values, wait=False, **options))


def render(values, version="1.33", chart=CHART, release="shr", namespace="weave"):
    """The text that Helm renders, hooks included: it is installed into a stub that only keeps it."""
    result = run(helm.Install, Stub(f"{version}.0"), release, values, chart, namespace)
    return result.get("manifest", ""), [hook["manifest"] for hook in result.get("hooks") or []]


def objects(text):
    return [document for document in yaml.safe_load_all(text) if document]


def value_sets():
    for path in sorted(CHART.glob("ci/*-values.yaml")):
        text = path.read_text()
        first = re.search(r"^# from: (\S+)", text)
        yield path.stem.removesuffix("-values"), first[1] if first else VERSIONS[0], yaml.safe_load(text)
