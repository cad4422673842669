//! The check of the stack that compilers put before a return: a jump that is taken only to end the process. PURE.

use iced_x86::{FlowControl, Instruction};

use super::body::{Body, stub};
use super::instructions::slot;
use crate::tls::elf::ranges::Functions;
use crate::tls::elf::symbols::Table;

const CHECK_FAILED: &str = "__stack_chk_fail";
/// Before the call.
const MOST_INSTRUCTIONS: usize = 4;

/// Whether what stands at this address does nothing but say that the stack was overwritten.
pub(super) fn fails(functions: &Functions<'_>, body: &Body, address: u64) -> bool {
    let block = body.code.range(address..).take(MOST_INSTRUCTIONS).map(|(_, i)| i);
    let call = block.into_iter().find(|i| i.flow_control() != FlowControl::Next);
    body.code.contains_key(&address) && call.is_some_and(|call| is_failure(functions, call))
}

fn is_failure(functions: &Functions<'_>, call: &Instruction) -> bool {
    match call.flow_control() {
        FlowControl::IndirectCall => slot(call).and_then(|slot| functions.elf.import(slot)) == Some(CHECK_FAILED),
        FlowControl::Call => {
            let target = call.near_branch_target();
            stub(functions, target) == Some(CHECK_FAILED) || is_own(functions, target)
        }
        _ => false,
    }
}

/// In a program that is linked statically.
fn is_own(functions: &Functions<'_>, target: u64) -> bool {
    let tables = [Table::Exported, Table::All].into_iter();
    tables
        .filter_map(|table| functions.elf.defined(table, &[CHECK_FAILED]).remove(CHECK_FAILED))
        .any(|symbol| symbol.address == target)
}
