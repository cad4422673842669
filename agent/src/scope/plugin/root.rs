//! Where the plugin socket is to be. PURE.

use std::path::PathBuf;

/// Where Scope looks for plugins.
pub const DEFAULT_PLUGINS_ROOT: &str = "/var/run/scope/plugins";

/// Where the plugin socket goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginsRoot {
    /// The folder that is tried first.
    pub path: PathBuf,
    /// Folders to use if that one cannot be; none if somebody chose it.
    pub fallbacks: Vec<PathBuf>,
}
