//! The host's side of the ABI: what Envoy offers a module, name by name, and how bytes cross the border.
//!
//! A module that imports anything else doesn't load, as in Envoy.

mod body;
mod headers;
mod platform;
mod state;
mod streams;
mod wasi;

use wasmtime::{Caller, Engine, Linker};

use crate::headers::Headers;
use crate::stream::{Stream, StreamRef};
use crate::vm::VmData;

/// A host function's caller.
pub(crate) type Cx<'a> = Caller<'a, VmData>;

/// What a host function ends with: nothing more, or a status that isn't Ok, or a trap.
pub(crate) type Called = Result<(), Stop>;

/// Why a host function ends early.
pub(crate) enum Stop {
    With(Status),
    Trap(wasmtime::Error),
}

/// The statuses of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such thing.
    NotFound = 1,
    /// Not now, or not this.
    BadArgument = 2,
    /// The value can't be written down.
    SerializationFailure = 3,
    /// The value can't be read.
    ParseFailure = 4,
    /// A pointer out of the module's memory.
    InvalidMemoryAccess = 6,
    /// An empty queue.
    Empty = 7,
    /// The shared value has another version.
    CasMismatch = 8,
    /// The host failed.
    InternalFailure = 10,
    /// The host hasn't got this.
    Unimplemented = 12,
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::With(status)
    }
}

/// Registers functions of one import module: each counts its calls, and ends in a status.
macro_rules! host_functions {
    ($linker:ident, $module:literal, $($name:ident($($arg:ident: $ty:ty),*);)*) => {
        $($linker.func_wrap($module, stringify!($name), |mut cx: $crate::abi::Cx<'_> $(, $arg: $ty)*| -> wasmtime::Result<u32> {
            $crate::abi::entered(&cx, stringify!($name))?;
            $crate::abi::ended($name(&mut cx $(, $arg)*))
        })?;)*
    };
}
pub(crate) use host_functions;

/// Everything that Envoy offers to a module of ABI 0.2.1.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<VmData>> {
    let mut linker = Linker::new(engine);
    headers::offer(&mut linker)?;
    body::offer(&mut linker)?;
    state::offer(&mut linker)?;
    streams::offer(&mut linker)?;
    platform::offer(&mut linker)?;
    wasi::offer(&mut linker)?;
    Ok(linker)
}

/// Counts the call, and traps if a test asked for that.
pub(crate) fn entered(cx: &Cx<'_>, name: &'static str) -> wasmtime::Result<()> {
    if cx.data().shared.faults.entered(name) {
        wasmtime::bail!("a trap that the test asked for, in {name}");
    }
    Ok(())
}

pub(crate) fn ended(called: Called) -> wasmtime::Result<u32> {
    match called {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Stop::With(status)) => Ok(status as u32),
        Err(Stop::Trap(error)) => Err(error),
    }
}

/// A copy of `len` bytes at `ptr`.
pub(crate) fn take(cx: &Cx<'_>, ptr: u32, len: u32) -> Result<Vec<u8>, Stop> {
    let memory = cx.data().memory.ok_or(Status::InternalFailure)?;
    let end = ptr.checked_add(len).ok_or(Status::InvalidMemoryAccess)?;
    let slice = memory.data(cx).get(ptr as usize..end as usize);
    let slice = slice.ok_or(Status::InvalidMemoryAccess)?;
    cx.data().shared.faults.count_copied(slice.len());
    Ok(slice.to_vec())
}

/// Writes `bytes` at `ptr`.
pub(crate) fn put(cx: &mut Cx<'_>, ptr: u32, bytes: &[u8]) -> Called {
    let memory = cx.data().memory.ok_or(Status::InternalFailure)?;
    memory
        .write(cx, ptr as usize, bytes)
        .map_err(|_| Status::InvalidMemoryAccess.into())
}

pub(crate) fn put_u32(cx: &mut Cx<'_>, ptr: u32, value: u32) -> Called {
    put(cx, ptr, &value.to_le_bytes())
}

pub(crate) fn put_u64(cx: &mut Cx<'_>, ptr: u32, value: u64) -> Called {
    put(cx, ptr, &value.to_le_bytes())
}

/// Gives bytes away: memory that the module allocates and then owns. Nothing is a null pointer.
pub(crate) fn give(cx: &mut Cx<'_>, bytes: &[u8], ptr_out: u32, size_out: u32) -> Called {
    let size = u32::try_from(bytes.len()).map_err(|_| Status::InternalFailure)?;
    let mut ptr = 0;
    if size > 0 {
        let allocate = cx.data().allocate.clone().ok_or(Status::InternalFailure)?;
        ptr = allocate.call(&mut *cx, size).map_err(Stop::Trap)?;
        put(cx, ptr, bytes)?;
        cx.data().shared.faults.count_copied(bytes.len());
    }
    put_u32(cx, ptr_out, ptr)?;
    put_u32(cx, size_out, size)
}

/// The stream that the module is speaking about: the effective context if it set one.
pub(crate) fn stream(cx: &Cx<'_>) -> Option<StreamRef> {
    cx.data().stream()
}

/// Does something with that stream, or says NotFound if it speaks for the root context.
pub(crate) fn with_stream<T>(
    cx: &Cx<'_>,
    otherwise: Status,
    use_it: impl FnOnce(&mut Stream) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let stream = stream(cx).ok_or(otherwise)?;
    let mut stream = stream.lock().expect("stream");
    use_it(&mut stream)
}

/// Header maps on the wire: count, lengths, then names and values, each followed by NUL.
pub(crate) fn serialized(headers: &Headers) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    if headers.is_empty() {
        return Vec::new();
    }
    let mut bytes = length(headers.len()).to_vec();
    for (name, value) in headers.iter() {
        bytes.extend(length(name.len()));
        bytes.extend(length(value.len()));
    }
    for (name, value) in headers.iter() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    bytes
}

/// The pairs of a header map on the wire; whatever is malformed is an empty map, as in Envoy.
pub(crate) fn deserialized(bytes: &[u8]) -> Headers {
    pairs(bytes).map(Headers::from_pairs).unwrap_or_default()
}

fn pairs(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let number = |at: usize| -> Option<usize> {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let count = number(0)?;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    let mut all = Vec::new();
    for pair in 0..count {
        let (name, value) = (number(4 + pair * 8)?, number(8 + pair * 8)?);
        let name_bytes = bytes.get(at..at.checked_add(name)?)?;
        at = at.checked_add(name)?.checked_add(1)?;
        let value_bytes = bytes.get(at..at.checked_add(value)?)?;
        at = at.checked_add(value)?.checked_add(1)?;
        all.push((
            String::from_utf8_lossy(name_bytes).into_owned(),
            value_bytes.to_vec(),
        ));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_map_survives_the_way_over_and_back() {
        let headers = Headers::from_pairs([(":path", b"/v1".as_slice()), ("x", b""), ("y", b"\xff\0\x01")]);
        assert_eq!(deserialized(&serialized(&headers)), headers);
    }

    #[test]
    fn a_malformed_map_is_empty() {
        for bytes in [
            &b""[..],
            b"\x01",
            b"\xff\xff\xff\xff",
            b"\x01\0\0\0\x05\0\0\0\x05\0\0\0ab",
        ] {
            assert!(deserialized(bytes).is_empty(), "{bytes:?}");
        }
    }
}
