"""Checks the chart with Helm itself, and every object it renders against Kubernetes' own schemas.

`chart_checks.py --write` renders deploy/manifests anew instead, `--render FOLDER` the value sets. Each check is also shown something broken, and
fails if it lets that pass.
"""

import asyncio
import copy
import re
import shutil
import sys
import tempfile
from pathlib import Path

import helm_sdkpy as helm
import kubernetes_validate
import pydantic
import yaml
from cloudcoil.models.prometheus_operator.v1 import PodMonitor

from api_stub import Stub
from chart import CHART, MANIFESTS, ROOT, VERSIONS, check, failures, objects, render, run, value_sets
from chart_pods import check_nodes, check_probes, check_rolling, check_test


def number(version):
    return tuple(int(part) for part in version.split("."))


def invalid(document, version):
    """Why Kubernetes of this version, or the Prometheus Operator, would not take the object, or None."""
    if document["kind"] == "PodMonitor":
        return invalid_monitor(document)
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']}: {error.message}"
    return None


def invalid_monitor(document):
    try:
        monitor = PodMonitor.model_validate(document)
    except pydantic.ValidationError as error:
        return f"PodMonitor: {error}"
    # What the model does not know it drops.
    known = monitor.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return None if known == document else f"PodMonitor: not all of it is known, only {known}"


def check_lint():
    def errors(chart):
        try:
            config = helm.Configuration(kubeconfig=Stub("1.33.0").kubeconfig())
            result = asyncio.run(helm.Lint(config).run(str(chart)))
        except helm.HelmError as error:
            return str(error)
        severe = [str(message) for message in result["Messages"] or [] if "WARNING" in str(message) or "ERROR" in str(message)]
        return (result["Errors"] or []) + severe

    check("lint", not errors(CHART), errors(CHART))
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(shutil.copytree(CHART, Path(folder) / CHART.name))
        (broken / "templates/rbac.yaml").write_text("{{ .Values.nothing.at.all }}")
        check("lint sees a broken template", errors(broken))
    return "lint: ok, and it sees a broken template"


def check_objects():
    checked = 0
    for name, first, values in value_sets():
        # No template asks for the version, so one rendering serves all.
        manifest, hooks = render(values)
        documents = objects(manifest) + [document for hook in hooks for document in objects(hook)]
        for document in documents:
            for version in VERSIONS:
                if number(version) < number(first):
                    continue
                why = invalid(document, version)
                check(f"{name} on {version}", why is None, why)
                checked += 1
    broken = next(document for document in objects(render({})[0]) if document["kind"] == "DaemonSet")
    broken["spec"]["template"]["spec"]["hostPid"] = True
    check("a typo in a rendered object is seen", invalid(broken, "1.33"))
    everything = next(values for name, _, values in value_sets() if name == "everything")
    monitor = next(document for document in objects(render(everything)[0]) if document["kind"] == "PodMonitor")
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "1s"
    check("a typo in the PodMonitor is seen", invalid(monitor, "1.33"))
    return f"objects: {checked} valid, strictly, on {len(VERSIONS)} versions ({VERSIONS[0]} - {VERSIONS[-1]})"


# Values that must be refused, and what the message must name.
BAD = [
    ({"imagee": {}}, "imagee"),
    ({"image": {"tag": "not a tag"}}, "tag"),
    ({"image": {"digest": "sha256:short"}}, "digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"scope": {"pluginsRoot": "relative/path"}}, "pluginsRoot"),
    ({"scope": {"topologies": ["pods"]}}, "topologies"),
    ({"scope": {"topologies": []}}, "topologies"),
    ({"scope": {"shown": "some"}}, "shown"),
    ({"tls": {"enabled": "auto"}}, "enabled"),
    ({"tls": {"rust": True}}, "rust"),
    ({"kubernetes": {"enabled": "yes"}}, "enabled"),
    ({"security": {"extraCapabilities": ["CAP_SYS_RESOURCE"]}}, "extraCapabilities"),
    ({"security": {"seccompProfile": {"type": "Default"}}}, "seccompProfile"),
    ({"resources": {"limits": {"memory": "lots"}}}, "memory"),
    ({"tolerations": [{"operator": "Always"}]}, "operator"),
    ({"probes": {"startup": {"periodSeconds": 0}}}, "periodSeconds"),
    ({"podLabels": {"app": "weave-scope"}}, "podLabels"),
    ({"metrics": {"address": "prometheus.example"}}, "address"),
    ({"metrics": {"port": 0}}, "port"),
    ({"metrics": {"by": "request"}}, "by"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "interval"),
    ({"networkPolicy": {"metricsFrom": [{"pods": {}}]}}, "metricsFrom"),
    ({"resourceQuota": {"create": True}, "priorityClassName": ""}, "priorityClassName"),
]


def check_bad_values():
    for values, name in BAD:
        try:
            render(values)
            why = "it was taken"
        except helm.HelmError as error:
            why = None if name in str(error) else f"the message does not name {name}: {error}"
        check(f"{values} is refused", why is None, why)
    try:
        render({}, version="1.24")
        check("Kubernetes 1.24 is refused", False)
    except helm.HelmError as error:
        check("Kubernetes 1.24 is refused by name", "1.24" in str(error), error)
    return f"bad values: {len(BAD)} refused by name, and a Kubernetes that is too old"


def check_least_privilege():
    for name, _, values in value_sets():
        documents = objects(render(values)[0])
        pod = next(document for document in documents if document["kind"] == "DaemonSet")["spec"]["template"]
        context = pod["spec"]["containers"][0]["securityContext"]
        labels = pod["metadata"]["labels"]
        check(f"{name}: Scope's selectors do not match", not {"app", "name"} & labels.keys(), labels)
        check(f"{name}: read-only root", context["readOnlyRootFilesystem"])
        if not values.get("security", {}).get("privileged"):
            extra = values.get("security", {}).get("extraCapabilities", [])
            tls = ["SYS_PTRACE"] if values.get("tls", {}).get("enabled") else []
            wanted = {"drop": ["ALL"], "add": ["BPF", "PERFMON", *tls, *extra]}
            check(f"{name}: capabilities", context["capabilities"] == wanted, context)
            profile = values.get("security", {}).get("seccompProfile", {"type": "RuntimeDefault"})
            check(f"{name}: seccomp", context["seccompProfile"] == profile, context)
            check(f"{name}: not privileged", not context["privileged"] and not context["allowPrivilegeEscalation"])
        writable = [mount["name"] for mount in pod["spec"]["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
        check(f"{name}: of the node's folders only that of the plugins is writable", writable == ["plugins"], writable)
        rules = [rule for document in documents if document["kind"] == "ClusterRole" for rule in document["rules"]]
        exact = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}]
        token = pod["spec"]["automountServiceAccountToken"]
        check(f"{name}: list and watch of pods, or nothing", rules == (exact if token else []), rules)
    return "least privilege: as documented in every value set"


def tls_faults(values, chart=CHART):
    """What switching it on changes beside the agent's flag and one capability."""
    def container(tls):
        documents = objects(render({**values, "tls": tls}, chart=chart)[0])
        rest = [document for document in documents if document["kind"] != "DaemonSet"]
        pod = next(document for document in documents if document["kind"] == "DaemonSet")["spec"]["template"]["spec"]
        return rest, pod, pod["containers"][0]

    ways = [(False, True, True), (True, False, False), (True, True, False), (True, False, True), (True, True, True)]
    off, *ons = (container({"enabled": on, "go": go, "responses": responses}) for on, go, responses in ways)
    flags = ["--tls=auto", "--tls=auto,go", "--tls=auto,responses", "--tls=auto,go,responses"]
    for (_, _, agent), flag in zip(ons, flags, strict=True):
        if flag not in agent["args"]:
            yield f"{flag} is not in {agent['args']}"
        agent["args"].remove(flag)
        capabilities = agent["securityContext"].get("capabilities", {"add": ["SYS_PTRACE"]})["add"]
        if "SYS_PTRACE" not in capabilities:
            yield f"SYS_PTRACE is not in {capabilities}"
        capabilities.remove("SYS_PTRACE")
    if any(on != off for on in ons):
        yield "it changes more than that"


def check_tls():
    for name, _, values in value_sets():
        faults = list(tls_faults(values))
        check(f"{name}: tls", not faults, faults)
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(shutil.copytree(CHART, Path(folder) / CHART.name))
        daemonset = broken / "templates/daemonset.yaml"
        daemonset.write_text(daemonset.read_text().replace("- SYS_PTRACE", "- SYS_PTRACE\n                - SYS_ADMIN"))
        check("a further capability is seen", list(tls_faults({}, broken)))
    return "tls: off by default; a flag and one capability where it is on, nothing else"


UMBRELLA = """\
apiVersion: v2
name: umbrella
version: 1.0.0
dependencies:
  - {name: scope-http-requests, version: "*", condition: scope-http-requests.enabled}
"""


def check_umbrella():
    """The chart as a dependency that is switched by a value, beside what the umbrella says to all its charts."""
    with tempfile.TemporaryDirectory() as folder:
        umbrella = Path(folder)
        shutil.copytree(CHART, umbrella / "charts" / CHART.name)
        (umbrella / "Chart.yaml").write_text(UMBRELLA)
        for enabled in [True, False]:
            values = {"global": {"imageRegistry": "registry.example"}, CHART.name: {"enabled": enabled}}
            try:
                kinds = [document["kind"] for document in objects(render(values, chart=umbrella)[0])]
            except helm.HelmError as error:
                kinds = [f"refused: {error}"]
            check(f"an umbrella chart's enabled: {enabled}", ("DaemonSet" in kinds) if enabled else kinds == [], kinds)
    return "umbrella: switched on and off by enabled"


VERSION = re.search(r'^\[workspace\.package\]\nversion = "([^"]+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
# Of each, NOTES must say the words.
NOTES = [
    ({}, [f"image scope-http-requests:{VERSION}", f"docker build -t scope-http-requests:{VERSION}"]),
    ({"image": {"repository": "registry.example/shr", "tag": "mine"}}, ["image registry.example/shr:mine"]),
    ({"rbac": {"create": False}}, ["rbac.create is false"]),
    ({"security": {"privileged": True}}, ["security.privileged is true"]),
    ({}, ["--set tls.enabled=true", "SYS_PTRACE"]),
    ({"tls": {"enabled": True}}, ["OpenSSL and GnuTLS are counted", "has SYS_PTRACE", "--set tls.enabled=false"]),
    ({"tls": {"enabled": True, "go": True}}, ["OpenSSL, GnuTLS and Go are counted"]),
    ({"tls": {"go": True}}, ["tls.go and tls.responses do nothing without tls.enabled"]),
    ({"tls": {"responses": True}}, ["tls.go and tls.responses do nothing without tls.enabled"]),
]


def check_notes():
    for values, words in NOTES:
        result = run(helm.Install, Stub("1.33.0"), "shr", values)
        notes = result["info"]["notes"]
        for word in words:
            check(f"NOTES of {values} say: {word}", word in notes, notes)
    own = run(helm.Install, Stub("1.33.0"), "shr", {"image": {"repository": "registry.example/shr"}})["info"]["notes"]
    check("how to build is not said to who has named an image", "docker build" not in own, own)
    return f"notes: {len(NOTES)} kinds"


def metrics_faults(values):
    """What is wrong between the agent's flags, its port and everything that leads to it."""
    documents = {document["kind"]: document for document in objects(render(values)[0])}
    pod = documents["DaemonSet"]["spec"]["template"]
    container = pod["spec"]["containers"][0]
    flags = dict(argument.split("=", 1) for argument in container["args"] if argument.startswith("--metrics-"))
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    annotations = {name: value for name, value in pod["metadata"]["annotations"].items() if name.startswith("prometheus.io/")}
    policy, monitor = documents.get("NetworkPolicy"), documents.get("PodMonitor")
    if not values.get("metrics", {}).get("enabled"):
        if flags or ports or annotations or monitor:
            yield f"off, but {flags} {ports} {annotations} {monitor}"
        if policy and policy["spec"]["ingress"]:
            yield f"off, but {policy['spec']['ingress']}"
        return
    address, _, port = flags["--metrics-address"].rpartition(":")
    if ports != {"metrics": int(port)} or address.startswith("127."):
        yield f"served at {flags}, ports {ports}"
    if annotations and annotations["prometheus.io/port"] != port:
        yield f"annotations {annotations}, port {port}"
    if policy and [entry["port"] for rule in policy["spec"]["ingress"] for entry in rule["ports"]] != ["metrics"]:
        yield f"the policy lets in {policy['spec']['ingress']}"
    if monitor:
        labels = pod["metadata"]["labels"].items()
        if not monitor["spec"]["selector"]["matchLabels"].items() <= labels:
            yield f"the PodMonitor selects {monitor['spec']['selector']}, the pods have {labels}"
        if [endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]] != ["metrics"]:
            yield f"the PodMonitor asks {monitor['spec']['podMetricsEndpoints']}"


def check_metrics():
    everything = {name: values for name, _, values in value_sets()}["everything"]
    for name, _, values in value_sets():
        faults = list(metrics_faults(values))
        check(f"{name}: metrics", not faults, faults)
    check("everything has a PodMonitor", "PodMonitor" in render(everything)[0])
    loopback = {"metrics": {"enabled": True, "address": "127.0.0.1"}}
    check("an address that nobody reaches is seen", list(metrics_faults(loopback)))
    return "metrics: off by default; flags, port, annotations, policy and PodMonitor agree"


def check_upgrade():
    stub = Stub("1.33.0")
    sets = {name: values for name, _, values in value_sets()}
    run(helm.Install, stub, "shr", sets["default"])
    before = copy.deepcopy(stub.of_kind("DaemonSet")[0])
    run(helm.Upgrade, stub, "shr", sets["privileged-selinux"], reset_values=True)
    after = stub.of_kind("DaemonSet")[0]
    context = after["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    check("the upgrade arrives", context["privileged"] is True, context)
    check("the selector never changes", before["spec"]["selector"] == after["spec"]["selector"])
    run(helm.Upgrade, stub, "shr", sets["counts-only"], reset_values=True)
    left = {document["kind"] for document in stub.objects.values()}
    check("an upgrade removes what is switched off", left == {"DaemonSet", "Secret"}, left)
    config = helm.Configuration(namespace="weave", kubeconfig=stub.kubeconfig())
    asyncio.run(helm.Uninstall(config).run("shr", wait=False))
    check("uninstalling leaves nothing", not stub.objects, stub.objects.keys())
    return "install, two upgrades, uninstall: ok"


NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: scope-http-requests
  labels:
    app.kubernetes.io/name: scope-http-requests
    # BPF and hostPID: without this label the pods are refused, with a mere warning.
    pod-security.kubernetes.io/enforce: privileged
---
"""
HEADER = "# Rendered from deploy/helm/scope-http-requests: change the chart, then run `.ci/charts --write`.\n"


def rendered_manifests():
    """Path and text of each raw manifest."""
    name = "scope-http-requests"
    for folder, namespace, start in [("", name, NAMESPACE), ("beside-scope", "weave", "")]:
        text, _ = render({}, release=name, namespace=namespace)
        # Helm did not put it there, so its labels would mislead.
        text = re.sub(r"^ *(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text, flags=re.M)
        text = re.sub(r"^# Source: .*\n", "", text, flags=re.M)
        text = re.sub(r"\n{2,}", "\n", text).strip().removeprefix("---\n")
        yield MANIFESTS / folder / f"{name}.yaml", HEADER + start + text + "\n"


def check_manifests():
    for path, text in rendered_manifests():
        check(f"{path.relative_to(ROOT)} is current (.ci/charts --write renders it)", path.is_file() and path.read_text() == text)
        for document in objects(text):
            for version in VERSIONS:
                check(f"{path.name} on {version}", invalid(document, version) is None, invalid(document, version))
        resources = yaml.safe_load((path.parent / "kustomization.yaml").read_text())["resources"]
        check(f"{path.parent.name}: kustomization.yaml names the file", resources == [path.name], resources)
    return "manifests: current and valid"


# What BuildKit sets by itself.
AUTOMATIC = re.compile(r"^ARG +((?:TARGET|BUILD)(?:PLATFORM|OS|ARCH|VARIANT))=", re.M)


def check_image():
    text = (ROOT / "Dockerfile").read_text()
    library = (ROOT / ".ci/lib.sh").read_text()
    check("no default in the Dockerfile takes the place of what BuildKit sets", not AUTOMATIC.findall(text), AUTOMATIC.findall(text))
    check("a default for what BuildKit sets is seen", AUTOMATIC.findall(text.replace("ARG TARGETARCH\n", "ARG TARGETARCH=amd64\n")))
    buildable = re.search(r"^architectures=\((.*)\)", library, re.M)[1].split()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    wanted = values["image"]["architectures"]
    check("the chart's architectures are those that are built", wanted == buildable, (wanted, buildable))
    release = re.search(r"--platform (\S+)", (ROOT / ".github/workflows/release.yml").read_text())[1]
    published = [platform.removeprefix("linux/") for platform in release.split(",")]
    check("and those that a release publishes", published == buildable, published)
    return f"image: {' and '.join(buildable)}, as the builder is told"


# Where the version is said of an image or a chart.
SAID = re.compile(r"scope-http-requests(?::|-(?=\d+\.\d+\.\d+\.tgz)|.* --version )(\d+\.\d+\.\d+)")


def check_versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    for name in ["version", "appVersion"]:
        check(f"the chart's {name} is the workspace's", chart[name] == VERSION, (chart[name], VERSION))
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *CHART.rglob("*.yaml")]:
        said = set(SAID.findall(path.read_text())) - {VERSION}
        check(f"{path.relative_to(ROOT)} says no other version than {VERSION}", not said, said)
    check("another version is seen", SAID.findall("scope-http-requests:0.0.9") == ["0.0.9"])
    return f"version: {VERSION}, everywhere"


def follow_version():
    path = CHART / "Chart.yaml"
    text = re.sub(r"^version: .*", f"version: {VERSION}", path.read_text(), flags=re.M)
    path.write_text(re.sub(r"^appVersion: .*", f'appVersion: "{VERSION}"', text, flags=re.M))


def write_renderings(folder):
    """What Helm makes of each value set, its test's pod included: .ci/containers runs them."""
    for name, _, values in value_sets():
        manifest, hooks = render(values)
        (folder / f"{name}.yaml").write_text("\n---\n".join([manifest.strip().removeprefix("---\n"), *hooks]))


def main():
    if "--render" in sys.argv:
        write_renderings(Path(sys.argv[-1]))
        return
    if "--write" in sys.argv:
        follow_version()
        for path, text in rendered_manifests():
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
        return
    steps = [
        check_lint,
        check_versions,
        check_image,
        check_bad_values,
        check_least_privilege,
        check_nodes,
        check_test,
        check_probes,
        check_rolling,
        check_umbrella,
        check_notes,
        check_metrics,
        check_tls,
        check_upgrade,
        check_manifests,
        check_objects,
    ]
    for step in steps:
        before = len(failures)
        passed = step()
        if len(failures) == before:
            print(passed)
    if failures:
        sys.exit(f"chart: {len(failures)} failed")


main()
