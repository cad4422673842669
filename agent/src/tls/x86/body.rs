//! A function's whole code: its range, its cold part, and the functions to which it hands over. PURE.

use std::collections::{BTreeMap, BTreeSet};

use iced_x86::{FlowControl, Instruction};

use super::instructions::{decode, jump_target, slot};
use super::stack::depths;
use crate::printable::printable;
use crate::tls::elf::ranges::Functions;
use crate::tls::elf::symbols::Table;
use crate::tls::trouble::Why;

/// How many functions may hand over to one another.
const MOST_JUMPS: u32 = 8;
/// Ranges, and bytes in them, of one function.
const MOST_RANGES: usize = 32;
const MOST_BYTES: usize = 1 << 17;
/// A jump of these is no end: the process ends there.
const NEVER_RETURN: [&str; 4] = ["__stack_chk_fail", "abort", "__assert_fail", "_Unwind_Resume"];

/// Everything that runs between a function's first instruction and its return.
pub struct Body {
    /// By address.
    pub code: BTreeMap<u64, Instruction>,
    /// To where jumps of it go, as far as is known.
    pub targets: BTreeSet<u64>,
    /// Bytes from the stack pointer up to where it was at the first instruction, before each instruction of which it is known.
    pub depths: BTreeMap<u64, u32>,
    /// Whether there are jumps whose targets are not known (`switch`).
    pub has_tables: bool,
}

impl Body {
    /// Of the function that begins there.
    pub fn of(functions: &Functions<'_>, start: u64) -> Result<Self, Why> {
        let (mut code, mut targets) = (BTreeMap::new(), BTreeSet::new());
        let (mut leaving, mut indirect) = (BTreeMap::new(), Vec::new());
        let (mut waiting, mut ranges, mut bytes) = (vec![(start, 0)], 0, 0);
        while let Some((address, jumps)) = waiting.pop() {
            if code.contains_key(&address) {
                continue;
            }
            let (range, stretch) = functions.code(address)?;
            (ranges, bytes) = (ranges + 1, bytes + stretch.len());
            if jumps > MOST_JUMPS || ranges > MOST_RANGES {
                return Err(Why::TooDeep);
            }
            if bytes > MOST_BYTES {
                return Err(Why::TooLong);
            }
            for i in decode(stretch, range.start)? {
                code.insert(i.ip(), i);
                let target = match jump_target(&i) {
                    Some(target) => {
                        targets.insert(target);
                        if range.contains(&target) { None } else { destination(functions, target)? }
                    }
                    None if i.flow_control() != FlowControl::IndirectBranch => None,
                    None => match slot(&i).and_then(|slot| functions.elf.import(slot)) {
                        Some(name) => own(functions, name)?,
                        None => {
                            indirect.push(i.ip());
                            None
                        }
                    },
                };
                leaving.extend(target.map(|target| (i.ip(), target)));
                waiting.extend(target.map(|target| (target, jumps + 1)));
            }
        }
        let depths = depths(&code, &leaving, start);
        // With something of its own on the stack a function cannot hand over to another one: it is a `switch`.
        match indirect.iter().find(|address| depths.get(address).is_none_or(|depth| *depth == 0)) {
            Some(address) => Err(Why::IndirectJump(*address)),
            None => Ok(Self { code, targets, depths, has_tables: !indirect.is_empty() }),
        }
    }
}

/// Where a jump out of a function ends up: through a stub to where the loader binds it, which is in the same file for a library's own
/// functions. None if nobody returns from there.
fn destination(functions: &Functions<'_>, target: u64) -> Result<Option<u64>, Why> {
    match stub(functions, target) {
        Some(name) => own(functions, name),
        None => Ok(Some(target)),
    }
}

fn own(functions: &Functions<'_>, name: &str) -> Result<Option<u64>, Why> {
    if NEVER_RETURN.contains(&name) {
        return Ok(None);
    }
    let symbol = functions.elf.defined(Table::Exported, &[name]).remove(name);
    symbol.map(|symbol| Some(symbol.address)).ok_or_else(|| Why::LeavesFile(printable(name)))
}

/// What the procedure linkage table's stub at this address is bound to.
pub(super) fn stub<'d>(functions: &Functions<'d>, address: u64) -> Option<&'d str> {
    /// Of a stub, with the mark of a branch's target before it.
    const BYTES: u64 = 12;
    let code = functions.elf.code(address, BYTES)?;
    let code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).map_or((code, address), |code| (code, address + 4));
    let jump = iced_x86::Decoder::with_ip(64, code.0, code.1, iced_x86::DecoderOptions::NONE).into_iter().next()?;
    (jump.flow_control() == FlowControl::IndirectBranch).then_some(())?;
    functions.elf.import(slot(&jump)?)
}
