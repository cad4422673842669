//! What the agent's sources name of each other: modules, their kinds, and which name is in which file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// The path of a module, without `crate`.
pub type Module = Vec<String>;

/// A source file.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
    pub syntax: syn::File,
}

/// All modules of a crate but its tests'.
pub struct Modules(BTreeMap<Module, Source>);

/// The Rust files below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What a file's opening comment says that it is.
pub fn kinds(text: &str) -> (bool, bool) {
    let opening: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
    let says = |kind: &str| opening.iter().any(|line| line.contains(kind));
    (says("PURE"), says("EDGE"))
}

impl Modules {
    pub fn read(root: &Path) -> Self {
        let files = files(root).into_iter().filter(|path| !path.ends_with("main.rs") && !is_test(path));
        Self::of(files.map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root).unwrap().to_owned(), text)
        }))
    }

    /// Of files by their paths in the crate.
    pub fn of(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let modules = files.into_iter().map(|(path, text)| {
            let syntax = syn::parse_file(&text).unwrap();
            let mut module: Module =
                path.with_extension("").iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            (module, Source { path, text, syntax })
        });
        Self(modules.collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Module, &Source)> {
        self.0.iter()
    }

    pub fn get(&self, module: &Module) -> Option<&Source> {
        self.0.get(module)
    }

    /// The modules that a module names.
    pub fn named_by(&self, module: &Module) -> BTreeSet<Module> {
        let mut names = Names { inside: module.clone(), paths: Vec::new() };
        names.visit_file(&self.0[module].syntax);
        names.paths.iter().filter_map(|path| self.holder(path)).filter(|named| named != module).collect()
    }

    /// The module whose file holds what a path means, behind what is handed on.
    fn holder(&self, path: &[String]) -> Option<Module> {
        let depth = (1..=path.len()).rev().find(|depth| self.0.contains_key(&path[..*depth]))?;
        let module = path[..depth].to_vec();
        let Some(item) = path.get(depth) else { return Some(module) };
        for (name, handed) in handed_on(&self.0[&module].syntax, &module) {
            if name == *item {
                return self.holder(&handed);
            }
        }
        Some(module)
    }
}

/// What a module hands on under which name.
fn handed_on(file: &syn::File, module: &Module) -> Vec<(String, Module)> {
    let mut all = Vec::new();
    for item in &file.items {
        let Item::Use(item) = item else { continue };
        if !matches!(item.vis, syn::Visibility::Inherited) {
            let mut paths = Vec::new();
            flatten(&item.tree, &[], &mut paths);
            let absolute = paths.into_iter().filter_map(|path| {
                let name = path.last()?.clone();
                Some((name, absolute(&path, module).unwrap_or_else(|| [module.as_slice(), &path].concat())))
            });
            all.extend(absolute);
        }
    }
    all
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with("_tests") || name == "golden"
}

fn flatten(tree: &UseTree, prefix: &[String], all: &mut Vec<Module>) {
    let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => flatten(&path.tree, &with(&path.ident), all),
        UseTree::Name(name) if name.ident == "self" => all.push(prefix.to_vec()),
        UseTree::Rename(name) if name.ident == "self" => all.push(prefix.to_vec()),
        UseTree::Name(name) => all.push(with(&name.ident)),
        UseTree::Rename(name) => all.push(with(&name.ident)),
        UseTree::Glob(_) => all.push(prefix.to_vec()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, prefix, all)),
    }
}

/// A path without `crate` and `super`; `None` for one that begins otherwise.
fn absolute(path: &[String], inside: &Module) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([inside.as_slice(), &path[1..]].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            Some([&inside[..inside.len().checked_sub(up)?], &path[up..]].concat())
        }
        _ => None,
    }
}

/// Collects paths into the crate; what is for tests alone does not count.
struct Names {
    inside: Module,
    paths: Vec<Module>,
}

impl Names {
    fn add(&mut self, path: &[String]) {
        self.paths.extend(absolute(path, &self.inside));
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl<'a> Visit<'a> for Names {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            self.inside.push(item.ident.to_string());
            visit::visit_item_mod(self, item);
            self.inside.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        let mut paths = Vec::new();
        flatten(&item.tree, &[], &mut paths);
        paths.iter().for_each(|path| self.add(path));
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let parts: Module = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&parts);
        visit::visit_path(self, path);
    }
}
