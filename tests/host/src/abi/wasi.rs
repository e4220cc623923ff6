//! The WASI functions that Envoy has (proxy-wasm-cpp-host `exports.h`), as it has them: output goes to the log, files and
//! arguments don't exist, the environment and the clocks do.

use wasmtime::Linker;

use crate::abi::{Cx, put, put_u32, put_u64, take};
use crate::clock::nanoseconds;
use crate::vm::VmData;

const SUCCESS: u32 = 0;
const BAD_DESCRIPTOR: u32 = 8;
const FAULT: u32 = 21;
const NO_SUCH_SYSTEM_CALL: u32 = 52;
const NOT_SUPPORTED: u32 = 58;

/// Functions that answer with an errno.
macro_rules! wasi {
    ($linker:ident, $($name:ident($($arg:ident: $ty:ty),*);)*) => {
        $($linker.func_wrap("wasi_snapshot_preview1", stringify!($name), |mut cx: Cx<'_> $(, $arg: $ty)*| -> wasmtime::Result<u32> {
            crate::abi::entered(&cx, stringify!($name))?;
            Ok($name(&mut cx $(, $arg)*))
        })?;)*
    };
}

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    wasi! { linker,
        fd_write(fd: u32, iovs: u32, count: u32, out: u32);
        clock_time_get(id: u32, precision: u64, out: u32);
        random_get(out: u32, len: u32);
        environ_sizes_get(out_count: u32, out_bytes: u32);
        environ_get(out_pointers: u32, out_bytes: u32);
        args_sizes_get(out_count: u32, out_bytes: u32);
    }
    linker.func_wrap("wasi_snapshot_preview1", "args_get", |_: u32, _: u32| SUCCESS)?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "fd_read",
        |_: u32, _: u32, _: u32, _: u32| NO_SUCH_SYSTEM_CALL,
    )?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "fd_seek",
        |_: u32, _: i64, _: u32, _: u32| SUCCESS,
    )?;
    linker.func_wrap("wasi_snapshot_preview1", "fd_close", |_: u32| SUCCESS)?;
    linker.func_wrap("wasi_snapshot_preview1", "fd_fdstat_get", fdstat)?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "fd_fdstat_set_flags",
        |_: u32, _: u32| NO_SUCH_SYSTEM_CALL,
    )?;
    linker.func_wrap("wasi_snapshot_preview1", "fd_prestat_get", |_: u32, _: u32| {
        BAD_DESCRIPTOR
    })?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "fd_prestat_dir_name",
        |_: u32, _: u32, _: u32| BAD_DESCRIPTOR,
    )?;
    linker.func_wrap("wasi_snapshot_preview1", "sched_yield", || SUCCESS)?;
    linker.func_wrap(
        "wasi_snapshot_preview1",
        "poll_oneoff",
        |_: u32, _: u32, _: u32, _: u32| NO_SUCH_SYSTEM_CALL,
    )?;
    linker.func_wrap("wasi_snapshot_preview1", "proc_exit", exit)?;
    linker.func_wrap("wasi_snapshot_preview1", "path_open", path_open)?;
    Ok(())
}

fn errno(done: crate::abi::Called) -> u32 {
    if done.is_ok() { SUCCESS } else { FAULT }
}

/// The end of a module that gives up: nothing can be called in it any more.
fn exit(code: u32) -> wasmtime::Result<()> {
    wasmtime::bail!("proc_exit({code})")
}

#[expect(clippy::too_many_arguments, reason = "WASI's own list")]
fn path_open(_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32) -> u32 {
    NO_SUCH_SYSTEM_CALL
}

fn fdstat(mut cx: Cx<'_>, fd: u32, out: u32) -> u32 {
    if fd != 1 && fd != 2 {
        return BAD_DESCRIPTOR;
    }
    let mut stat = [0_u8; 24];
    stat[8] = 64;
    errno(put(&mut cx, out, &stat))
}

/// Standard output is logged as info, standard error as error, each call as one line.
fn fd_write(cx: &mut Cx<'_>, fd: u32, iovs: u32, count: u32, out: u32) -> u32 {
    let level = match fd {
        1 => 2,
        2 => 4,
        _ => return BAD_DESCRIPTOR,
    };
    let Some(text) = gathered(cx, iovs, count) else {
        return FAULT;
    };
    cx.data()
        .shared
        .log(level, text.strip_suffix(b"\n").unwrap_or(&text));
    errno(put_u32(cx, out, u32::try_from(text.len()).unwrap_or(u32::MAX)))
}

fn gathered(cx: &Cx<'_>, iovs: u32, count: u32) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for at in (0..count).map(|index| iovs.saturating_add(index.saturating_mul(8))) {
        let pair = u64::from_le_bytes(take(cx, at, 8).ok()?.try_into().ok()?);
        let ptr = u32::try_from(pair & u64::from(u32::MAX)).ok()?;
        let len = u32::try_from(pair >> 32).ok()?;
        text.extend(take(cx, ptr, len).ok()?);
    }
    Some(text)
}

fn clock_time_get(cx: &mut Cx<'_>, id: u32, _precision: u64, out: u32) -> u32 {
    let clock = &cx.data().shared.clock;
    let now = match id {
        0 => clock.wall(),
        1 => clock.monotonic(),
        _ => return NOT_SUPPORTED,
    };
    errno(put_u64(cx, out, nanoseconds(now)))
}

fn random_get(cx: &mut Cx<'_>, out: u32, len: u32) -> u32 {
    let data = cx.data_mut();
    let bytes: Vec<u8> = (0..len).map(|_| data.random_byte()).collect();
    errno(put(cx, out, &bytes))
}

fn environ_sizes_get(cx: &mut Cx<'_>, out_count: u32, out_bytes: u32) -> u32 {
    let environment = &cx.data().shared.settings.environment;
    let count = u32::try_from(environment.len()).unwrap_or(0);
    let bytes: usize = environment
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum();
    let bytes = u32::try_from(bytes).unwrap_or(0);
    errno(put_u32(cx, out_count, count).and_then(|()| put_u32(cx, out_bytes, bytes)))
}

fn environ_get(cx: &mut Cx<'_>, out_pointers: u32, out_bytes: u32) -> u32 {
    let (mut pointer, mut at) = (out_pointers, out_bytes);
    for (name, value) in cx.data().shared.settings.environment.clone() {
        let entry = format!("{name}={value}\0");
        let wrote = put_u32(cx, pointer, at).and_then(|()| put(cx, at, entry.as_bytes()));
        if wrote.is_err() {
            return FAULT;
        }
        pointer = pointer.saturating_add(4);
        at = at.saturating_add(u32::try_from(entry.len()).unwrap_or(0));
    }
    SUCCESS
}

fn args_sizes_get(cx: &mut Cx<'_>, out_count: u32, out_bytes: u32) -> u32 {
    errno(put_u32(cx, out_count, 0).and_then(|()| put_u32(cx, out_bytes, 0)))
}
