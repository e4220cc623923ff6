//! Compiled modules: compiled once, kept beside the build's other products, loaded in milliseconds afterwards.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use sha2::{Digest, Sha256};
use wasmtime::{Config, Engine, InstancePre, Module};

use crate::abi;
use crate::vm::VmData;

/// A module ready to be instantiated, linked against what Envoy offers and nothing else.
pub(crate) struct Code {
    pub(crate) engine: Engine,
    pub(crate) linked: InstancePre<VmData>,
}

/// A name that a module imports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// `env` or `wasi_snapshot_preview1`.
    pub module: String,
    /// The function's name.
    pub name: String,
}

/// What the module at `path` imports, sorted.
///
/// # Errors
/// When the file can't be read or isn't a module.
pub fn imports(path: &Path) -> Result<Vec<Import>, String> {
    let engine = engine(false).map_err(|error| format!("{error:?}"))?;
    let module = compiled(&engine, path, false)?;
    let import = |import: wasmtime::ImportType<'_>| Import {
        module: import.module().to_owned(),
        name: import.name().to_owned(),
    };
    let mut all: Vec<Import> = module.imports().map(import).collect();
    all.sort();
    Ok(all)
}

/// The module at `path`, compiled and linked once for the whole process.
pub(crate) fn code(path: &Path, count_instructions: bool) -> Result<Arc<Code>, String> {
    type Known = Mutex<HashMap<(PathBuf, bool), Arc<Code>>>;
    static KNOWN: OnceLock<Known> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Known::default).lock().expect("known modules");
    let key = (path.to_path_buf(), count_instructions);
    if let Some(code) = known.get(&key) {
        return Ok(Arc::clone(code));
    }
    let code = Arc::new(linked(path, count_instructions)?);
    known.insert(key, Arc::clone(&code));
    Ok(code)
}

fn linked(path: &Path, count_instructions: bool) -> Result<Code, String> {
    let engine = engine(count_instructions).map_err(|error| format!("{error:?}"))?;
    let module = compiled(&engine, path, count_instructions)?;
    let linked = abi::linker(&engine).and_then(|linker| linker.instantiate_pre(&module));
    linked
        .map(|linked| Code { engine, linked })
        .map_err(|error| format!("{error:?}"))
}

fn engine(count_instructions: bool) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.consume_fuel(count_instructions);
    Engine::new(&config)
}

fn compiled(engine: &Engine, path: &Path, count_instructions: bool) -> Result<Module, String> {
    let wasm = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cached = cache_file(&wasm, count_instructions);
    if let Some(module) = load(engine, &cached) {
        return Ok(module);
    }
    let module = Module::new(engine, &wasm).map_err(|error| format!("{}: {error:?}", path.display()))?;
    save(&module, &cached);
    Ok(module)
}

/// A file that some earlier run of this crate wrote; anything else of that name makes us compile again.
#[allow(unsafe_code)]
fn load(engine: &Engine, cached: &Path) -> Option<Module> {
    if !cached.exists() {
        return None;
    }
    // SAFETY: the file was written by `save`, into the build's own directory, whole or not at all; wasmtime checks that it
    // is of this version and these settings.
    unsafe { Module::deserialize_file(engine, cached) }.ok()
}

/// Failing to keep it only costs time.
fn save(module: &Module, cached: &Path) {
    let Ok(bytes) = module.serialize() else { return };
    let partial = cached.with_extension(format!("{}.partial", std::process::id()));
    let _ = cached.parent().map(fs::create_dir_all);
    if fs::write(&partial, bytes).is_ok() {
        let _ = fs::rename(&partial, cached);
    }
}

/// Beside the test binary, which lies in the build's target directory.
fn cache_file(wasm: &[u8], count_instructions: bool) -> PathBuf {
    let digest = Sha256::digest(wasm);
    let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let counted = if count_instructions { "-counted" } else { "" };
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    beside
        .unwrap_or_else(std::env::temp_dir)
        .join("compiled-modules")
        .join(format!("{name}{counted}.cwasm"))
}
