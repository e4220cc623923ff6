//! A whole exchange: any request, any answers, any cuts, any end.

use crate::input::Input;
use crate::lab::script::Script;
use crate::lab::{Lab, gateways};

/// Whatever comes, in whatever pieces, and however it ends: what an exchange reserves is settled once, and its limit then
/// holds exactly what was booked; nothing is left to be booked, no lease is kept, a record is written once and is JSON; no
/// credential of ours goes to the client or into the record, and none of the client's to a provider.
pub fn exchange(data: &[u8]) {
    let mut input = Input::new(data);
    let which = usize::from(input.byte());
    let script = Script::read(input);
    gateways(|gateways| {
        let mut lab = Lab::new(&gateways[which % gateways.len()]);
        lab.play(&script);
    });
}
