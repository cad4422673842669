//! How far the stack has grown at each instruction of a function. PURE.

use std::collections::BTreeMap;

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::instructions::{Registers, jump_target};

/// Before an instruction: bytes from the stack pointer up to where it was at the first one, and the same of the frame
/// pointer, where it was set from the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    depth: Option<i64>,
    frame: Option<i64>,
}

impl State {
    /// What is known if both may be.
    fn or(self, other: Self) -> Self {
        let same = |one: Option<i64>, other| one.filter(|_| one == other);
        Self { depth: same(self.depth, other.depth), frame: same(self.frame, other.frame) }
    }
}

/// Bytes from the stack pointer at each instruction up to where it was at `start`, where the ways that lead there agree. `leaving`:
/// where the jumps at these addresses end up.
pub(super) fn depths(
    code: &BTreeMap<u64, Instruction>,
    leaving: &BTreeMap<u64, u64>,
    start: u64,
) -> BTreeMap<u64, u32> {
    let mut registers = Registers::new();
    let mut known: BTreeMap<u64, State> = BTreeMap::new();
    let mut waiting = vec![(start, State { depth: Some(0), frame: None })];
    while let Some((address, coming)) = waiting.pop() {
        let Some(instruction) = code.get(&address) else { continue };
        let before = known.get(&address).copied();
        let state = before.map_or(coming, |before| before.or(coming));
        if before == Some(state) {
            continue;
        }
        known.insert(address, state);
        let after = after(instruction, state, &mut registers);
        waiting.extend(successors(instruction, leaving).into_iter().flatten().map(|next| (next, after)));
    }
    let depths = known.into_iter().filter_map(|(address, state)| Some((address, u32::try_from(state.depth?).ok()?)));
    depths.collect()
}

fn successors(i: &Instruction, leaving: &BTreeMap<u64, u64>) -> [Option<u64>; 2] {
    let jump = || leaving.get(&i.ip()).copied().or_else(|| jump_target(i));
    match i.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => [Some(i.next_ip()), None],
        FlowControl::ConditionalBranch => [Some(i.next_ip()), jump()],
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => [jump(), None],
        _ => [None, None],
    }
}

fn after(i: &Instruction, State { depth, frame }: State, registers: &mut Registers) -> State {
    use Register::{RBP, RSP};
    let to = |register| i.op0_kind() == OpKind::Register && i.op0_register() == register;
    let from = |register| i.op1_kind() == OpKind::Register && i.op1_register() == register;
    // Of `[register + number]`.
    let number = i.memory_displacement64() as i64;
    let near = |register| i.memory_base() == register && i.memory_index() == Register::None;
    let plus = |value: Option<i64>, number: i64| value?.checked_add(number);
    let minus = |value: Option<i64>, number: i64| value?.checked_sub(number);
    match i.mnemonic() {
        Mnemonic::Call => State { depth, frame },
        Mnemonic::Leave => State { depth: minus(frame, 8), frame: None },
        Mnemonic::Sub if to(RSP) && i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory => {
            State { depth: plus(depth, i.immediate(1) as i64), frame }
        }
        Mnemonic::Add if to(RSP) && i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory => {
            State { depth: minus(depth, i.immediate(1) as i64), frame }
        }
        Mnemonic::Mov if to(RBP) && from(RSP) => State { depth, frame: depth },
        Mnemonic::Mov if to(RSP) && from(RBP) => State { depth: frame, frame },
        Mnemonic::Lea if to(RSP) && near(RSP) => State { depth: minus(depth, number), frame },
        Mnemonic::Lea if to(RSP) && near(RBP) => State { depth: minus(frame, number), frame },
        Mnemonic::Lea if to(RBP) && near(RSP) => State { depth, frame: minus(depth, number) },
        mnemonic => {
            let moved = match mnemonic {
                Mnemonic::Push | Mnemonic::Pushfq | Mnemonic::Pop | Mnemonic::Popfq if !to(RSP) => {
                    minus(depth, i64::from(i.stack_pointer_increment()))
                }
                _ if registers.writes(i, &[RSP]) => None,
                _ => depth,
            };
            State { depth: moved, frame: frame.filter(|_| !registers.writes(i, &[RBP])) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::instructions::decode;
    use super::*;

    /// At each of its instructions in turn.
    fn of(code: &[u8]) -> Vec<Option<u32>> {
        let instructions = decode(code, 0x1000).unwrap();
        let code = instructions.iter().map(|i| (i.ip(), *i)).collect();
        let depths = depths(&code, &BTreeMap::new(), 0x1000);
        instructions.iter().map(|i| depths.get(&i.ip()).copied()).collect()
    }

    #[test]
    fn what_moves_the_stack() {
        // push rbp; push r15; sub rsp, 0x18; call; add rsp, 0x18; pop r15; pop rbp; ret
        let plain = [
            0x55, 0x41, 0x57, 0x48, 0x83, 0xec, 0x18, 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0xc4, 0x18, 0x41, 0x5f, 0x5d, 0xc3,
        ];
        assert_eq!(of(&plain), [0, 8, 16, 40, 40, 16, 8, 0].map(Some));
        // push rbp; mov rbp, rsp; push rbx; sub rsp, 0x108; lea rsp, [rbp-8]; pop rbx; pop rbp; ret
        let frame =
            [0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x81, 0xec, 8, 1, 0, 0, 0x48, 0x8d, 0x65, 0xf8, 0x5b, 0x5d, 0xc3];
        assert_eq!(of(&frame), [0, 8, 8, 16, 280, 16, 8, 0].map(Some));
        // push rbp; mov rbp, rsp; and rsp, -32; leave; ret
        let aligned = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xe0, 0xc9, 0xc3];
        assert_eq!(of(&aligned), [Some(0), Some(8), Some(8), None, Some(0)]);
        // lea rsp, [rsp-0x20]; lea rsp, [rsp+0x20]; ret
        let lea = [0x48, 0x8d, 0x64, 0x24, 0xe0, 0x48, 0x8d, 0x64, 0x24, 0x20, 0xc3];
        assert_eq!(of(&lea), [0, 32, 0].map(Some));
        // pop rsp; ret
        assert_eq!(of(&[0x5c, 0xc3]), [Some(0), None]);
    }

    #[test]
    fn where_ways_disagree_nothing_is_known() {
        // je to the nop; push rax; nop; ret
        assert_eq!(of(&[0x74, 0x01, 0x50, 0x90, 0xc3]), [Some(0), Some(0), None, None]);
        // je to the nop; mov rbp, rsp; nop; leave; ret
        assert_eq!(of(&[0x74, 0x03, 0x48, 0x89, 0xe5, 0x90, 0xc9, 0xc3]), [Some(0), Some(0), Some(0), Some(0), None]);
        // ret; nop: nobody comes there
        assert_eq!(of(&[0xc3, 0x90]), [Some(0), None]);
    }
}
