//! From a rendered pod to what a runtime is told: the part of the kubelet and of containerd, for what our charts use.
//!
//! A field that is not translated is refused, so a new line in the chart cannot pass unseen. Sources: the kubelet's
//! `pkg/kubelet/kuberuntime` and `pkg/securitycontext`, containerd's `pkg/cri` and `oci/spec.go`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};

/// What a pod may ask for here.
const POD_FIELDS: &[&str] = &[
    "hostPID",
    "hostNetwork",
    "automountServiceAccountToken",
    "volumes",
    "containers",
    // These change nothing in a container.
    "serviceAccountName",
    "enableServiceLinks",
    "dnsPolicy",
    "priorityClassName",
    "terminationGracePeriodSeconds",
    "nodeSelector",
    "affinity",
    "tolerations",
    "restartPolicy",
];
const CONTAINER_FIELDS: &[&str] = &[
    "command",
    "args",
    "env",
    "resources",
    "securityContext",
    "volumeMounts",
    // Done by the test, or of no effect in a container.
    "name",
    "image",
    "imagePullPolicy",
    "ports",
    "terminationMessagePolicy",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
];
const SECURITY_FIELDS: &[&str] = &[
    "runAsUser",
    "runAsGroup",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "capabilities",
    "seccompProfile",
    // Asked of the image, which says 0 itself; and SELinux, which is not tried.
    "runAsNonRoot",
    "seLinuxOptions",
];

/// containerd's profile for a container without capabilities, as its 1.6.20 prints it on x86-64
/// (`contrib/seccomp`, Apache-2.0).
const RUNTIME_DEFAULT: &str = include_str!("runtime-default.json");
/// What it allows beside that to those who have a capability.
const ALLOWED_BY: &[(&str, &str)] = &[("CAP_BPF", "bpf"), ("CAP_PERFMON", "perf_event_open")];

/// Not of Kubernetes: a profile from before there was CAP_BPF, as CRI-O long had one.
pub const OLD_RUNTIME_DEFAULT: &str = "RuntimeDefault of long ago";

/// What a container has that does not drop all: containerd's `oci/spec.go`.
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// What the node adds to a container.
pub struct Placement<'a> {
    /// The pod's name, which is its host name.
    pub pod: &'a str,
    pub node: &'a str,
    /// The container's path below each hierarchy of cgroups.
    pub cgroup: &'a str,
    /// Whether cgroups are those of v2 alone, which gives a container a cgroup namespace.
    pub is_unified: bool,
    /// Whether the runtime can limit memory and share processors.
    pub has_controllers: bool,
    /// What the kubelet makes of the service account: token, authority and namespace.
    pub service_account: &'a Path,
    /// The file whose content the kubelet shows as the termination message.
    pub termination_log: &'a Path,
    /// The API server.
    pub api_port: u16,
}

/// The first container of a pod.
pub fn container(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

/// A runtime's configuration (OCI `config.json`) of the pod's first container, with an image whose entry point is
/// `entry`. Makes the folders on the node that the pod wants made.
pub fn configuration(pod: &Value, entry: &str, placed: &Placement<'_>) -> Result<Value> {
    let spec = &pod["spec"];
    only(spec, POD_FIELDS).context("the pod")?;
    let container = container(pod);
    only(container, CONTAINER_FIELDS).context("the container")?;
    let security = &container["securityContext"];
    only(security, SECURITY_FIELDS).context("the security context")?;

    let is_privileged = security["privileged"] == true;
    let mut config = basis(placed, is_privileged);
    let process = &mut config["process"];
    let words = [strings(&container["command"]), strings(&container["args"])];
    let command = if words[0].is_empty() { vec![entry.to_owned()] } else { words[0].clone() };
    process["args"] = [command, words[1].clone()].concat().into();
    process["env"] = environment(container, placed)?.into();
    process["user"] = json!({"uid": security["runAsUser"], "gid": security["runAsGroup"].as_u64().unwrap_or_default()});
    process["noNewPrivileges"] = (security["allowPrivilegeEscalation"] == false).into();
    let capabilities = capabilities(security);
    let held: Value = capabilities.clone().into();
    process["capabilities"] = json!({"bounding": held, "permitted": held, "effective": held});
    config["root"]["readonly"] = security["readOnlyRootFilesystem"].clone();

    let namespaces = config["linux"]["namespaces"].as_array_mut().context("no namespaces")?;
    let shared: Vec<&str> = [("hostPID", "pid"), ("hostNetwork", "network")]
        .iter()
        .filter_map(|(field, namespace)| (spec[*field] == true).then_some(*namespace))
        .collect();
    namespaces.retain(|namespace| !shared.contains(&namespace["type"].as_str().unwrap_or_default()));
    if shared.contains(&"network") {
        // With the node's network comes its name.
        namespaces.retain(|namespace| namespace["type"] != "uts");
        config["hostname"].take();
    }
    match security["seccompProfile"]["type"].as_str() {
        Some("RuntimeDefault") => config["linux"]["seccomp"] = runtime_default(&capabilities),
        Some(OLD_RUNTIME_DEFAULT) => config["linux"]["seccomp"] = runtime_default(&[]),
        Some("Unconfined") | None => {}
        Some(other) => bail!("the seccomp profile {other} is not translated"),
    }
    config["linux"]["resources"] = resources(&container["resources"], placed)?;
    let mounts = config["mounts"].as_array_mut().context("no mounts")?;
    mounts.extend(volumes(spec, container)?);
    mounts.push(bind(placed.termination_log, "/dev/termination-log", false));
    if spec["automountServiceAccountToken"] == true {
        mounts.push(bind(placed.service_account, "/var/run/secrets/kubernetes.io/serviceaccount", true));
    }
    Ok(config)
}

/// What every container has, and what only a privileged one lacks.
pub fn basis(placed: &Placement<'_>, is_privileged: bool) -> Value {
    let access = if is_privileged { "rw" } else { "ro" };
    let mut namespaces: Vec<_> =
        ["pid", "network", "ipc", "uts", "mount"].iter().map(|namespace| json!({"type": namespace})).collect();
    namespaces.extend(placed.is_unified.then(|| json!({"type": "cgroup"})));
    let held: Vec<_> = DEFAULT_CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect();
    let mut config = json!({
        "ociVersion": "1.0.2",
        "hostname": placed.pod,
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": held, "permitted": held, "effective": held},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", access]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", access]},
        ],
        "linux": {"cgroupsPath": placed.cgroup, "namespaces": namespaces, "resources": {}},
    });
    if !is_privileged {
        config["linux"]["maskedPaths"] = json!([
            "/proc/asound",
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ]);
        config["linux"]["readonlyPaths"] =
            json!(["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]);
    }
    config
}

/// A folder or a file of the node in the container.
pub fn bind(source: &Path, destination: &str, is_read_only: bool) -> Value {
    let access = if is_read_only { "ro" } else { "rw" };
    json!({"destination": destination, "type": "bind", "source": source, "options": ["rbind", "rprivate", access]})
}

fn only(object: &Value, known: &[&str]) -> Result<()> {
    let unknown: Vec<_> = object
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(&name.as_str()))
        .collect();
    ensure!(unknown.is_empty(), "not translated: {unknown:?}");
    Ok(())
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn environment(container: &Value, placed: &Placement<'_>) -> Result<Vec<String>> {
    // Every pod is told of the API server's service.
    let mut variables = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={}", placed.pod),
        "KUBERNETES_SERVICE_HOST=127.0.0.1".to_owned(),
        format!("KUBERNETES_SERVICE_PORT={}", placed.api_port),
    ];
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable without a name")?;
        let value = match (variable["value"].as_str(), variable["valueFrom"]["fieldRef"]["fieldPath"].as_str()) {
            (Some(value), None) => value,
            (None, Some("spec.nodeName")) => placed.node,
            _ => bail!("not translated: {variable}"),
        };
        variables.push(format!("{name}={value}"));
    }
    Ok(variables)
}

fn capabilities(security: &Value) -> Vec<String> {
    if security["privileged"] == true {
        // All that the runtime itself has.
        let own = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        return own.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    }
    let (added, dropped) = (strings(&security["capabilities"]["add"]), strings(&security["capabilities"]["drop"]));
    let all = dropped.iter().any(|name| name == "ALL");
    let kept = DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let kept = kept.filter(|name| !all && !dropped.contains(name));
    kept.chain(added).map(|name| format!("CAP_{name}")).collect()
}

/// The same for a program of this machine; what it does with a system call that it does not know.
pub fn confined(otherwise: &str) -> Value {
    let mut profile = runtime_default(&[]);
    profile["defaultAction"] = otherwise.into();
    profile
}

fn runtime_default(capabilities: &[String]) -> Value {
    let mut profile: Value = serde_json::from_str(RUNTIME_DEFAULT).expect("a profile in the repository");
    let names: Vec<_> = ALLOWED_BY
        .iter()
        .filter(|(capability, _)| capabilities.iter().any(|held| held == capability))
        .map(|(_, name)| *name)
        .collect();
    if !names.is_empty() {
        profile["syscalls"].as_array_mut().expect("a list").push(json!({"action": "SCMP_ACT_ALLOW", "names": names}));
    }
    profile
}

fn resources(wanted: &Value, placed: &Placement<'_>) -> Result<Value> {
    let mut resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    if !placed.has_controllers {
        return Ok(resources);
    }
    if let Some(limit) = wanted["limits"]["memory"].as_str() {
        let mebibytes: u64 = limit.strip_suffix("Mi").context("a limit in Mi")?.parse()?;
        resources["memory"] = json!({"limit": mebibytes << 20});
    }
    if let Some(request) = wanted["requests"]["cpu"].as_str() {
        let thousandths: u64 = request.strip_suffix('m').context("a request in m")?.parse()?;
        resources["cpu"] = json!({"shares": thousandths * 1024 / 1000});
    }
    Ok(resources)
}

fn volumes(spec: &Value, container: &Value) -> Result<Vec<Value>> {
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let named = |volume: &&Value| volume["name"] == mount["name"];
        let volume = spec["volumes"].as_array().into_iter().flatten().find(named).context("no such volume")?;
        let path = PathBuf::from(volume["hostPath"]["path"].as_str().context("a volume of the node")?);
        match volume["hostPath"]["type"].as_str() {
            Some("DirectoryOrCreate") => fs::create_dir_all(&path)?,
            Some("Directory") => {
                ensure!(path.is_dir(), "hostPath type check failed: {} is not a directory", path.display())
            }
            other => bail!("not translated: a volume of type {other:?}"),
        }
        let destination = mount["mountPath"].as_str().context("a mount without a path")?;
        mounts.push(bind(&path, destination, mount["readOnly"] == true));
    }
    Ok(mounts)
}
