//! A node to be: its folders, its cgroups, an API server that knows its pods, and pods that serve HTTP.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};
use rustix::fd::AsFd as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_rustls::TlsAcceptor;

use crate::api_server::{ApiServer, Scenario};
use crate::harness::wait_for;
use crate::hierarchy;
use crate::pod::{Placement, basis, bind, configuration, confined};
use crate::runc::{Container, Runc};
use crate::secured;

pub const NODE: &str = "node-1";
const NAMESPACE: &str = "weave";
/// Where nginx listens, inside a pod.
const PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;

const NGINX: &str = "daemon off; user root; worker_processes 1; pid /tmp/pid; error_log stderr; events {}
http {
    access_log off; client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3;
    uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;
    server { listen 127.0.0.1:8080; location / { return 200 \"ok\"; } }
}
";

/// Each line of its log is a request.
const HTTPS: &str = "daemon off; user root; worker_processes 1; pid /tmp/pid; error_log stderr; events {}
http {
    access_log /tmp/served; client_body_temp_path /tmp/1; proxy_temp_path /tmp/2; fastcgi_temp_path /tmp/3;
    uwsgi_temp_path /tmp/4; scgi_temp_path /tmp/5;
    server {
        listen 127.0.0.1:8443 ssl http2; ssl_certificate /tmp/certificate; ssl_certificate_key /tmp/key;
        location / { return 200 \"ok\"; }
    }
}
";
const NGINX_COMMAND: &[&str] = &["nginx", "-e", "stderr", "-c", "/tmp/nginx.conf"];

const FORKS: &str = r#"$SIG{CHLD} = "IGNORE";
$listener = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8080", Listen => 9) or die $@;
while ($client = $listener->accept) {
    if (!fork) { sysread $client, $request, 4096; syswrite $client, "HTTP/1.1 200 OK\r\n\r\nok"; exit }
    close $client;
}"#;

/// Where a node mounts its cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether the cgroups that are mounted are those of version 2 alone.
pub fn is_unified() -> bool {
    let mount = Path::new(CGROUPS);
    hierarchy::unified(mount).as_deref() == Some(mount)
}

/// How the node's kubelet names cgroups.
#[derive(Clone, Copy)]
pub enum Driver {
    Cgroupfs,
    Systemd,
}

/// Which cgroups the node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Those that this machine mounts.
    AsHere,
    /// Version 2 alone, mounted over them in this mount namespace. Controllers that v1 has are missing in it.
    Unified,
}

pub struct Lab {
    folder: TempDir,
    runc: Runc,
    pub api: Api,
    /// The image: a folder with the binary and nothing else.
    image: PathBuf,
    entry: String,
    is_unified: bool,
    /// Whether the runtime can limit memory and share processors: on v2 not where v1 has taken those controllers.
    has_controllers: bool,
    is_mounted_over: bool,
}

impl Lab {
    /// In a mount namespace of its own, whose /run and cgroups it may mount over.
    pub fn start(hierarchy: Hierarchy, image: &Path, entry: &str) -> Result<Self> {
        let is_mounted_over = hierarchy == Hierarchy::Unified;
        if is_mounted_over {
            command("mount", &["-t", "cgroup2", "cgroup2", CGROUPS])?;
        }
        let mount = Path::new(CGROUPS);
        let is_unified = is_unified();
        let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        let has_controllers = ["cpu", "memory"].iter().all(|wanted| {
            if is_unified {
                controllers.split_whitespace().any(|name| name == *wanted)
            } else {
                mount.join(wanted).is_dir()
            }
        });
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("account"))?;
        let lab = Self {
            runc: Runc::find(folder.path().join("runc"))?,
            api: Api::start(&folder.path().join("account"))?,
            folder,
            image: image.to_owned(),
            entry: entry.to_owned(),
            is_unified,
            has_controllers,
            is_mounted_over,
        };
        if !has_controllers {
            println!("SKIPPED: limits of memory and shares of processors: no such controllers in cgroup v2 here");
        }
        Ok(lab)
    }

    /// A folder below all cgroups of this test, which no kubelet would use.
    fn cgroup_root() -> String {
        format!("scope-http-requests-test-{}", std::process::id())
    }

    fn cgroup(driver: Driver, uid: &str, container: &str) -> String {
        let root = Self::cgroup_root();
        match driver {
            Driver::Cgroupfs => format!("/{root}/kubepods/burstable/pod{uid}/{container}"),
            Driver::Systemd => {
                let uid = uid.replace('-', "_");
                format!(
                    "/{root}/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{uid}.slice/cri-containerd-{container}.scope"
                )
            }
        }
    }

    /// Tells the API server of a running pod.
    fn announce(&self, pod: &Pod) {
        let container = json!({"name": pod.container, "containerID": format!("containerd://{}", pod.id)});
        self.api.server.put(json!({
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "status": {"containerStatuses": [container]},
        }));
    }

    /// A bundle's folder.
    fn bundle(&self, name: &str) -> Result<PathBuf> {
        let bundle = self.folder.path().join(name);
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(&rootfs)?;
        Ok(bundle)
    }

    fn placement<'a>(
        &'a self,
        name: &'a str,
        cgroup: &'a str,
        log: &'a Path,
        api_port: u16,
        account: &'a Path,
    ) -> Placement<'a> {
        Placement {
            pod: name,
            node: NODE,
            cgroup,
            is_unified: self.is_unified,
            has_controllers: self.has_controllers,
            service_account: account,
            termination_log: log,
            api_port,
        }
    }

    /// Runs a rendered pod, with the API server at its loopback.
    pub fn run(&self, rendered: &Value, identity: &Pod) -> Result<Rendered<'_>> {
        let bundle = self.bundle(&identity.name)?;
        for file in fs::read_dir(&self.image)? {
            let file = file?;
            fs::copy(file.path(), bundle.join("rootfs").join(file.file_name()))?;
        }
        let termination_log = bundle.join("termination-log");
        fs::write(&termination_log, "")?;
        let account = self.folder.path().join("account");
        let cgroup = Self::cgroup(identity.driver, &identity.uid, &identity.id);
        // In the pod's own network any port is free.
        let on_node =
            if rendered["spec"]["hostNetwork"] == true { Some(TcpListener::bind("127.0.0.1:0")?) } else { None };
        let port = on_node.as_ref().map_or(Ok(6443), |listener| listener.local_addr().map(|address| address.port()))?;
        let placed = self.placement(&identity.name, &cgroup, &termination_log, port, &account);
        let config = configuration(rendered, &self.entry, &placed)?;
        self.announce(identity);
        let container = Container::create(&self.runc, &identity.id, &bundle, &config)?;
        let listener = match on_node {
            Some(listener) => listener,
            None => in_network_of(container.pid, || Ok(TcpListener::bind(("127.0.0.1", port))?))?,
        };
        self.api.serve(listener)?;
        container.start()?;
        Ok(Rendered { container, termination_log })
    }

    /// Runs a pod whose container is a program of this machine, on its files, which it cannot change.
    fn run_program(&self, words: &[&str], identity: &Pod) -> Result<Container<'_>> {
        let bundle = self.bundle(&identity.name)?;
        command("mount", &["--bind", "/", bundle.join("rootfs").to_str().context("UTF-8")?])?;
        self.run_on(&bundle, words, (NGINX, Value::Null), identity)
    }

    /// The same where its root is there.
    fn run_on(
        &self,
        bundle: &Path,
        words: &[&str],
        (nginx, seccomp): (&str, Value),
        identity: &Pod,
    ) -> Result<Container<'_>> {
        let conf = bundle.join("nginx.conf");
        fs::write(&conf, nginx)?;
        let cgroup = Self::cgroup(identity.driver, &identity.uid, &identity.id);
        let placed = self.placement(&identity.name, &cgroup, &conf, 0, &conf);
        let mut config = basis(&placed, false);
        if !seccomp.is_null() {
            config["linux"]["seccomp"] = seccomp;
        }
        config["process"]["args"] = json!(words);
        config["process"]["env"] = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]);
        let mounts = config["mounts"].as_array_mut().context("no mounts")?;
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        mounts.push(bind(&conf, "/tmp/nginx.conf", true));
        let account = self.folder.path().join("account");
        mounts.push(bind(&account.join("ca.crt"), "/tmp/certificate", true));
        mounts.push(bind(&account.with_extension("key"), "/tmp/key", true));
        self.announce(identity);
        let container = Container::create(&self.runc, &identity.id, bundle, &config)?;
        container.start()?;
        Ok(container)
    }

    pub fn nginx(&self, identity: &Pod) -> Result<Container<'_>> {
        self.run_program(NGINX_COMMAND, identity)
    }

    /// One with HTTPS, whose root is an overlay: this machine's files are the layer that all of these share. Under the
    /// runtime's seccomp profile, which does this `otherwise`.
    pub fn https(&self, identity: &Pod, otherwise: &str) -> Result<Container<'_>> {
        let bundle = self.bundle(&identity.name)?;
        // On another file system: no layer may be within another.
        let own = Path::new("/run").join(&identity.name);
        fs::create_dir_all(&own)?;
        let layers = format!("lowerdir={}:/", own.display());
        let root = bundle.join("rootfs");
        command("mount", &["-t", "overlay", "overlay", "-o", &layers, root.to_str().context("UTF-8")?])?;
        self.run_on(&bundle, NGINX_COMMAND, (HTTPS, confined(otherwise)), identity)
    }

    /// A server that has a process for each connection: its first process never reads a request.
    pub fn forks(&self, identity: &Pod) -> Result<Container<'_>> {
        self.run_program(&["perl", "-MIO::Socket::INET", "-e", FORKS], identity)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let mount = Path::new(CGROUPS);
        let root = Self::cgroup_root();
        let hierarchies = fs::read_dir(mount).into_iter().flatten().flatten().map(|entry| entry.path());
        for folder in hierarchies.chain([mount.to_owned()]).map(|hierarchy| hierarchy.join(&root)) {
            remove_tree(&folder);
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = |path: &&str| Path::new(path).starts_with(self.folder.path());
        for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(below) {
            let _ = command("umount", &[path]);
        }
        if self.is_mounted_over {
            let _ = command("umount", &[CGROUPS]);
        }
    }
}

/// Removes the folders of a cgroup, the innermost first; a cgroup's files go with it.
fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}

/// Who a pod is.
pub struct Pod {
    pub name: String,
    pub namespace: &'static str,
    pub uid: String,
    pub container: &'static str,
    /// Its container's id.
    pub id: String,
    driver: Driver,
}

impl Pod {
    /// One of a number of its own. Nobody else on this machine has its ids: the agent sees all pods' processes.
    pub fn new(name: &str, container: &'static str, number: u8, driver: Driver) -> Self {
        Self {
            name: name.to_owned(),
            namespace: if container == "agent" { NAMESPACE } else { "shop" },
            uid: format!("{:08x}-f953-4bd3-bc89-{number:012x}", std::process::id()),
            container,
            id: format!("c{:031x}{number:032x}", std::process::id()),
            driver,
        }
    }
}

/// A container of a rendered pod.
pub struct Rendered<'a> {
    pub container: Container<'a>,
    pub termination_log: PathBuf,
}

/// An API server that wants TLS with the service account's authority, and its token.
pub struct Api {
    pub server: ApiServer,
    tls: TlsAcceptor,
    runtime: Handle,
}

impl Api {
    /// Writes the service account's files.
    fn start(account: &Path) -> Result<Self> {
        let token = "the-token-of-the-service-account";
        fs::write(account.join("token"), token)?;
        fs::write(account.join("namespace"), NAMESPACE)?;
        let tls = secured::acceptor(&account.join("ca.crt"), &account.with_extension("key"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let server = runtime.block_on(ApiServer::start(Scenario::Serve));
        server.world().token = Some(token.to_owned());
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        Ok(Self { server, tls, runtime: handle })
    }

    /// Serves at one more address.
    fn serve(&self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        let _entered = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        self.runtime.spawn(secured::serve(listener, self.tls.clone(), self.server.address));
        Ok(())
    }
}

/// Sends requests to a pod's server, over one connection from inside the pod's network.
pub fn send(pid: u32, requests: usize) -> Result<()> {
    in_network_of(pid, || {
        let mut stream = wait_for("the server", || Ok(TcpStream::connect(("127.0.0.1", PORT)).ok()))?;
        for _ in 0..requests {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\nok") {
                let mut piece = [0; 1024];
                let length = stream.read(&mut piece)?;
                ensure!(length > 0, "the server closed");
                answer.extend_from_slice(&piece[..length]);
            }
        }
        Ok(())
    })
}

/// Begins a TLS connection, in which nothing is said, from inside the pod's network.
pub fn hello(pid: u32) -> Result<()> {
    // A record's head, and what a ClientHello begins with.
    const HELLO: &[u8] = &[0x16, 3, 1, 0, 200, 1];
    in_network_of(pid, || {
        let mut stream = wait_for("the server", || Ok(TcpStream::connect(("127.0.0.1", HTTPS_PORT)).ok()))?;
        stream.write_all(HELLO)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Until the server has read all of it.
        let _ = stream.read_to_end(&mut Vec::new());
        Ok(())
    })
}

/// Sends requests to a pod's server, over one connection in TLS from inside the pod's network.
pub fn send_https(pid: u32, version: &str, requests: usize) -> Result<()> {
    let url = format!("https://127.0.0.1:{HTTPS_PORT}/?[1-{requests}]");
    let words = ["--silent", "--show-error", "--fail", "--insecure", "--output", "/dev/null", version, &url];
    in_network_of(pid, || command("curl", &words))
}

/// Runs this on a thread in the network namespace of a process.
pub fn in_network_of<T: Send>(pid: u32, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    thread::scope(|scope| {
        let moved = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            act()
        };
        scope.spawn(moved).join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })
}

/// Runs a program to its end.
pub fn command(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
