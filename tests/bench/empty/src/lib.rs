//! A proxy-wasm filter that does nothing: the floor that the bench measures Spillway against.
//!
//! It is called at every header and body callback, as Spillway is, and continues. The invariant: not one host call
//! per request. With the configuration `hold` it does what a filter must that decides by bodies, and nothing else: it holds
//! request and answer until they are whole, reads all four parts and writes both heads anew.

#![cfg(target_arch = "wasm32")]
// The SDK's macro makes a public function without a word about it.
#![allow(missing_docs)]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { holds: false }));
}}

struct Root {
    holds: bool,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let given = self.get_plugin_configuration().unwrap_or_default();
        self.holds = given.windows(4).any(|window| window == b"hold");
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(if self.holds {
            Box::new(Held)
        } else {
            Box::new(Exchange)
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Exchange;

impl Context for Exchange {}

impl HttpContext for Exchange {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Continue
    }

    fn on_http_request_body(&mut self, _: usize, _: bool) -> Action {
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Continue
    }

    fn on_http_response_body(&mut self, _: usize, _: bool) -> Action {
        Action::Continue
    }
}

struct Held;

impl Context for Held {}

impl HttpContext for Held {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        drop(self.get_http_request_body(0, size));
        let headers = self.get_http_request_headers_bytes();
        self.set_http_request_headers_bytes(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .collect(),
        );
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        Action::Pause
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        drop(self.get_http_response_body(0, size));
        let headers = self.get_http_response_headers_bytes();
        self.set_http_response_headers_bytes(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .collect(),
        );
        Action::Continue
    }
}
