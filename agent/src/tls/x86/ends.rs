//! Where a function has come to its result, on each way out of it once. PURE.

use iced_x86::{FlowControl, Instruction, Register};

use super::body::Body;
use super::canary::fails;
use super::instructions::Registers;
use crate::tls::elf::ranges::Functions;
use crate::tls::trouble::Why;

/// Between the last jump and the return.
const MOST_INSTRUCTIONS: usize = 32;

/// Address and depth of the stack, one for each return.
pub fn ends(functions: &Functions<'_>, body: &Body) -> Result<Vec<(u64, u32)>, Why> {
    let mut registers = Registers::new();
    let returns = body.code.values().filter(|i| i.flow_control() == FlowControl::Return);
    let ends = returns.map(|i| before(functions, body, i, &mut registers).unwrap_or((i.ip(), 0)));
    let ends: Vec<_> = ends.collect();
    if ends.is_empty() { Err(Why::NoEnd) } else { Ok(ends) }
}

/// The check of the stack, a jump that the kernel does itself, if between it and the return the result stays as it is and nobody
/// jumps in.
fn before(functions: &Functions<'_>, body: &Body, end: &Instruction, registers: &mut Registers) -> Option<(u64, u32)> {
    // A return at another depth was followed wrongly, and so was what stands before it.
    if body.has_tables || body.depths.get(&end.ip()) != Some(&0) {
        return None;
    }
    let mut next = end;
    for i in body.code.range(..end.ip()).rev().take(MOST_INSTRUCTIONS).map(|(_, i)| i) {
        if i.next_ip() != next.ip() || body.targets.contains(&next.ip()) {
            return None;
        }
        if i.is_jcc_short_or_near() {
            let depth = *body.depths.get(&i.ip())?;
            return fails(functions, body, i.near_branch_target()).then_some((i.ip(), depth));
        }
        if i.flow_control() != FlowControl::Next || registers.writes(i, &[Register::RAX]) {
            return None;
        }
        next = i;
    }
    None
}
