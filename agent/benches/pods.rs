//! A node with 110 pods: a scripted API server, and cgroups as Kubernetes makes them.

#[path = "../tests/api_server/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod api_server;
#[path = "../tests/hierarchy/mod.rs"]
mod hierarchy;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::json;
use tempfile::TempDir;

use api_server::{ApiServer, Scenario};

/// As many as a kubelet runs.
pub(crate) const PODS: usize = 110;
/// Of each pod.
const CONTAINERS: usize = 2;

pub(crate) struct Node {
    _server: ApiServer,
    kubeconfig: PathBuf,
    _folder: TempDir,
    cgroups: Cgroups,
}

impl Node {
    /// `None` where there is no cgroup v2 in which one can be made.
    pub(crate) fn start() -> io::Result<Option<Self>> {
        let Some(cgroups) = Cgroups::make()? else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let folder = tempfile::tempdir()?;
        let server = runtime.block_on(async {
            let server = ApiServer::start(Scenario::Serve).await;
            for pod in 0..PODS {
                let status = |n| json!({"name": format!("app-{n}"), "containerID": format!("containerd://{}", container(pod, n))});
                server.put(json!({
                    "metadata": {"name": format!("web-{pod}"), "namespace": "shop", "uid": uid(pod)},
                    "status": {"containerStatuses": (0..CONTAINERS).map(status).collect::<Vec<_>>()},
                }));
            }
            server
        });
        let kubeconfig = server.write_kubeconfig(folder.path(), &json!({}));
        // Until the process ends.
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Ok(Some(Self { _server: server, kubeconfig, _folder: folder, cgroups }))
    }

    /// Those of an agent that watches these pods.
    pub(crate) fn arguments(&self) -> [OsString; 3] {
        ["--node-name=node-1".into(), "--kubeconfig".into(), self.kubeconfig.clone().into()]
    }

    /// Puts a process into one of the containers; they are filled in turn.
    pub(crate) fn take_in(&self, index: usize, pid: u32) -> io::Result<()> {
        let index = index % (PODS * CONTAINERS);
        fs::write(self.cgroups.path(index / CONTAINERS, index % CONTAINERS).join("cgroup.procs"), pid.to_string())
    }
}

/// Gone when dropped, if no process is in them.
struct Cgroups(PathBuf);

impl Cgroups {
    fn make() -> io::Result<Option<Self>> {
        let Some(root) = hierarchy::unified(Path::new("/sys/fs/cgroup")) else { return Ok(None) };
        let made = Self(root.join(format!("kubepods-bench-{}", std::process::id())));
        for pod in 0..PODS {
            for n in 0..CONTAINERS {
                fs::create_dir_all(made.path(pod, n))?;
            }
        }
        Ok(Some(made))
    }

    fn path(&self, pod: usize, n: usize) -> PathBuf {
        self.0.join(format!("pod{}", uid(pod))).join(container(pod, n))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for pod in 0..PODS {
            (0..CONTAINERS).for_each(|n| drop(fs::remove_dir(self.path(pod, n))));
            let _ = fs::remove_dir(self.0.join(format!("pod{}", uid(pod))));
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn uid(pod: usize) -> String {
    format!("{pod:08x}-0000-0000-0000-000000000000")
}

fn container(pod: usize, n: usize) -> String {
    format!("{:064x}", pod * CONTAINERS + n)
}
