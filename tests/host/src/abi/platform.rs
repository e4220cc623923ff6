//! Logging, time and ticks.

use std::time::Duration;

use wasmtime::Linker;

use crate::abi::{Called, Cx, Status, host_functions, put_u32, put_u64, take};
use crate::clock::nanoseconds;
use crate::vm::VmData;

pub(crate) fn offer(linker: &mut Linker<VmData>) -> wasmtime::Result<()> {
    host_functions! { linker, "env",
        proxy_log(level: u32, message: u32, message_len: u32);
        proxy_get_log_level(out: u32);
        proxy_get_current_time_nanoseconds(out: u32);
        proxy_set_tick_period_milliseconds(period: u32);
    }
    Ok(())
}

/// Kept whatever the level: a test that looks for secrets wants to see all that could be logged.
fn proxy_log(cx: &mut Cx<'_>, level: u32, message: u32, message_len: u32) -> Called {
    if level > 5 {
        return Err(Status::BadArgument.into());
    }
    let message = take(cx, message, message_len)?;
    cx.data().shared.log(level, &message);
    Ok(())
}

fn proxy_get_log_level(cx: &mut Cx<'_>, out: u32) -> Called {
    let level = cx.data().shared.settings.log_level;
    put_u32(cx, out, level)
}

fn proxy_get_current_time_nanoseconds(cx: &mut Cx<'_>, out: u32) -> Called {
    let now = nanoseconds(cx.data().shared.clock.wall());
    put_u64(cx, out, now)
}

/// Noted, not acted upon: ticks come by hand.
fn proxy_set_tick_period_milliseconds(cx: &mut Cx<'_>, period: u32) -> Called {
    cx.data_mut().tick_period = (period > 0).then(|| Duration::from_millis(u64::from(period)));
    Ok(())
}
