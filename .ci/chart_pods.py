"""Where the chart's pods go, and what asks them how they are: checked on what Helm renders."""

from chart import check, objects, render, value_sets

LINUX = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
# Labels of nodes, and whether the agent runs there. Those of the AKS add-on's virtual node are all that it has.
NODES = {
    "an ordinary node": (LINUX, True),
    "a node of EKS on EC2": ({**LINUX, "eks.amazonaws.com/nodegroup": "one", "node.kubernetes.io/instance-type": "m5.large"}, True),
    "a node of AKS": ({**LINUX, "kubernetes.azure.com/role": "agent", "type": "other"}, True),
    "arm64": ({**LINUX, "kubernetes.io/arch": "arm64"}, True),
    "s390x": ({**LINUX, "kubernetes.io/arch": "s390x"}, False),
    "Windows": ({**LINUX, "kubernetes.io/os": "windows"}, False),
    "EKS Fargate": ({**LINUX, "eks.amazonaws.com/compute-type": "fargate"}, False),
    "AKS' virtual node, the add-on": (
        {
            "alpha.service-controller.kubernetes.io/exclude-balancer": "true",
            "beta.kubernetes.io/os": "linux",
            "kubernetes.azure.com/managed": "false",
            "kubernetes.azure.com/role": "agent",
            "kubernetes.io/role": "agent",
            "type": "virtual-kubelet",
        },
        False,
    ),
    "AKS' virtual node, on Container Instances": ({**LINUX, "virtualization": "virtualnode2"}, False),
    "another virtual-kubelet": ({**LINUX, "type": "virtual-kubelet"}, False),
    "a super node of Tencent's": ({**LINUX, "node.kubernetes.io/instance-type": "eklet"}, False),
    "a cluster behind Liqo": ({**LINUX, "liqo.io/type": "virtual-node"}, False),
}
OPERATORS = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
}


def admits(pod, labels):
    """Whether the scheduler would look at a node with these labels."""
    if not pod.get("nodeSelector", {}).items() <= labels.items():
        return False
    required = pod.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    holds = lambda one: OPERATORS[one["operator"]](labels.get(one["key"]), one.get("values"))
    return not required or any(all(map(holds, term["matchExpressions"])) for term in required["nodeSelectorTerms"])


def pods(values):
    """The agent's pod and the test's, as specs."""
    manifest, hooks = render(values)
    agent = next(document for document in objects(manifest) if document["kind"] == "DaemonSet")["spec"]["template"]["spec"]
    test = next(document for hook in hooks for document in objects(hook) if document["kind"] == "Pod")["spec"]
    return agent, test


def check_nodes():
    for kind, pod in zip(["agent", "test"], pods({})):
        for node, (labels, wanted) in NODES.items():
            check(f"{node} {'gets' if wanted else 'gets no'} pod, {kind}", admits(pod, labels) == wanted)
    chosen = lambda values: {node for node, (labels, _) in NODES.items() if admits(pods(values)[0], labels)}
    ordinary = chosen({})
    check("architectures is one value", chosen({"image": {"architectures": ["amd64"]}}) == ordinary - {"arm64"})
    check("no architectures are all", chosen({"image": {"architectures": []}}) == ordinary | {"s390x"})
    alone = {"affinity": {"nodeAffinity": None}}
    check("without the default the pod goes to Fargate", "EKS Fargate" in chosen(alone) and "s390x" not in chosen(alone))
    everywhere = alone | {"image": {"architectures": []}, "nodeSelector": {"kubernetes.io/os": None}}
    check("everything is let in by values", chosen(everywhere) == NODES.keys())
    # Terms are alternatives: the architecture must stand in each.
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in ["kubernetes.io/os", "type"]]
    own = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}
    check("own terms keep the architecture", "s390x" not in chosen(own) and "EKS Fargate" in chosen(own))
    kept = pods({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}})[0]["affinity"]
    check("another affinity keeps the default", kept["nodeAffinity"] == pods({})[0]["affinity"]["nodeAffinity"], kept)
    return f"nodes: {len(NODES)} kinds, the agent and its test go to the same"


def check_test():
    hook = next(document for hook in render({})[1] for document in objects(hook))
    policy = hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    # Helm 3 deletes first and then asks for the log.
    check("the test's pod outlives the test, so that its log can be read", policy == "before-hook-creation", policy)
    limits = {"requests": {"cpu": "1m", "memory": "50Mi"}, "limits": {"cpu": "1", "memory": "99Mi"}}
    for values in [{}, {"resources": limits}]:
        of = [pod["containers"][0].get("resources") for pod in pods(values)]
        check("a quota that admits the agent admits its test", of[0] and of[0] == of[1], of)
    return "test: its log can be read, a quota admits it"


def check_rolling():
    """The new pod is there before the old one goes, unless both would need one port of the node."""
    def rolling(values):
        daemon = next(document for document in objects(render(values)[0]) if document["kind"] == "DaemonSet")
        return daemon["spec"]["updateStrategy"]

    surge = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    one_goes_first = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}}
    on_the_node, metrics = {"scope": {"hostname": "host"}}, {"metrics": {"enabled": True}}
    for values, expected in [({}, surge), (metrics, surge), (on_the_node, surge), (on_the_node | metrics, one_goes_first)]:
        check("new pods are there first, where they can", rolling(values) == expected, (values, rolling(values)))
    own = {"type": "OnDelete"}
    check("updateStrategy is as it is given", rolling({"updateStrategy": own}) == own)
    for name, _, values in value_sets():
        asked = probes(values)["startup"]["exec"]["command"]
        check(f"{name}: an answer of another pod's agent is none of this one's", "--own" in asked, asked)
    return "rolling: new pods come first, but for a port of the node"


def probes(values):
    container = pods(values)[0]["containers"][0]
    return {kind: container.get(f"{kind}Probe") for kind in ["startup", "liveness", "readiness"]}


def check_probes():
    """No command is run in a pod that has started, and strangers at the metrics' port cannot end one."""
    for name, _, values in value_sets():
        found = probes(values)
        waits = [int(word.removeprefix("--wait=")) for word in found["startup"]["exec"]["command"] if word.startswith("--wait=")]
        in_time = waits and 0 < waits[0] < found["startup"]["timeoutSeconds"]
        check(f"{name}: one command waits for the start, and answers before it is cut off", in_time, found["startup"])
        check(f"{name}: no command afterwards", found["liveness"] is None and "exec" not in (found["readiness"] or {}), found)
    on = probes({"metrics": {"enabled": True}})
    check("ready is asked at the metrics' port", on["readiness"]["httpGet"] == {"path": "/health/ready", "port": "metrics"}, on)
    elsewhere = probes({"metrics": {"enabled": True, "address": "127.0.0.1"}})
    check("not where the kubelet cannot reach it", elsewhere["readiness"] is None, elsewhere)
    liveness = {"periodSeconds": 300, "timeoutSeconds": 5}
    wanted = probes({"metrics": {"enabled": True}, "probes": {"liveness": liveness}})["liveness"]
    check("liveness, if wanted, is never asked where strangers are", wanted and wanted.keys() == {"exec", *liveness}, wanted)
    short = probes({"probes": {"startup": {"timeoutSeconds": 2}}})["startup"]
    check("a short startup probe does not wait", "--wait=0" in short["exec"]["command"], short)
    return "probes: one command at the start, none afterwards"
