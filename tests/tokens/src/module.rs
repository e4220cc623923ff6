//! `spillway-token-module` under wasmtime, as a host with a compiler runs it.

use spillway::tokens::exact::Encoding;
use spillway_token_fit::timed::timed;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmtime::{Engine, Instance, Linker, Memory, Store, TypedFunc};

/// An instance.
pub struct Module {
    store: Store<()>,
    memory: Memory,
    room: TypedFunc<u32, u32>,
    count: TypedFunc<u32, u64>,
}

impl Module {
    /// Builds the module (profile `quick`) unless `SPILLWAY_TOKEN_MODULE` names one, and starts it.
    pub fn build() -> Result<Self, Box<dyn Error>> {
        if given().is_some() {
            return Self::start();
        }
        eprintln!("building the module");
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "-p",
                "spillway-token-module",
                "--target",
                "wasm32-wasip1",
                "--profile",
                "quick",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()?;
        if !built.success() {
            return Err("the module doesn't build".into());
        }
        Self::start()
    }

    /// Starts the module that was built.
    pub fn start() -> Result<Self, Box<dyn Error>> {
        let engine = Engine::default();
        let module = wasmtime::Module::from_file(&engine, file())?;
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module)?;
        let instance: Instance = linker.instantiate(&mut store, &module)?;
        Ok(Self {
            memory: instance
                .get_memory(&mut store, "memory")
                .ok_or("a module has memory")?,
            room: instance.get_typed_func(&mut store, "room")?,
            count: instance.get_typed_func(&mut store, "count")?,
            store,
        })
    }

    /// The time of a count.
    pub fn count(&mut self, text: &[u8], encoding: Encoding) -> Result<Duration, Box<dyn Error>> {
        let room = self.reserve(text.len())?;
        self.memory.write(&mut self.store, usize::try_from(room)?, text)?;
        let number = match encoding {
            Encoding::O200k => 0,
            Encoding::Cl100k => 1,
        };
        let mut counted = Ok(0);
        let time = timed(|| counted = self.count.call(&mut self.store, number));
        counted?;
        Ok(time)
    }

    /// Makes room for a text of so many bytes; answers its address.
    pub fn reserve(&mut self, bytes: usize) -> Result<u32, Box<dyn Error>> {
        Ok(self.room.call(&mut self.store, u32::try_from(bytes)?)?)
    }

    /// Bytes of its memory, with the room for the text.
    pub fn memory(&self) -> usize {
        self.memory.data_size(&self.store)
    }
}

fn given() -> Option<PathBuf> {
    std::env::var_os("SPILLWAY_TOKEN_MODULE").map(PathBuf::from)
}

fn file() -> PathBuf {
    given().unwrap_or_else(built)
}

fn built() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    target.join("wasm32-wasip1/quick/spillway_token_module.wasm")
}
