//! The only code that names proxy_wasm: entry point, root context with its tick, one HTTP context per exchange
//! (gateway role) or attempt (provider role), and
//! the seam (`host`) through which every host call goes.
//!
//! Its invariant: nothing that a host answers makes it panic, because a panic takes every stream of the VM along.

mod errands;
mod host;
mod line;
mod part;
mod provider;
mod root;
mod step;
mod store;
mod stream;
mod worker;

use proxy_wasm::traits::RootContext;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| -> Box<dyn RootContext> { Box::new(root::Root::new(id)) });
}}
