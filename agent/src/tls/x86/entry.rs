//! Where at a function's begin a probe costs least. PURE.

use iced_x86::{FlowControl, Instruction, Register};

use super::instructions::{Registers, is_emulated, jump_target};

/// How far it is looked for.
const MOST_INSTRUCTIONS: usize = 32;

/// In which registers a function is given what a probe reads.
pub enum Arguments {
    /// System V: the first five, or fewer.
    System(usize),
    /// Go's own since 1.17: the first two.
    Go,
}

impl Arguments {
    fn registers(&self) -> &'static [Register] {
        match self {
            Self::System(number) => {
                let all: &'static [Register] =
                    &[Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];
                all.get(..*number).unwrap_or(all)
            }
            Self::Go => &[Register::RAX, Register::RBX, Register::R14],
        }
    }
}

/// The address and the stack's depth of the first instruction that the kernel does itself, through which everybody comes once
/// and at which the arguments are where they were; else of the function's first.
pub fn entry(code: &[Instruction], arguments: &Arguments) -> Option<(u64, u32)> {
    let first = code.first()?;
    let mut registers = Registers::new();
    let targets: Vec<u64> = code.iter().filter_map(jump_target).collect();
    let mut depth = 0_u32;
    for i in code.iter().take(MOST_INSTRUCTIONS) {
        if i.ip() != first.ip() && targets.contains(&i.ip()) {
            break;
        }
        if is_emulated(i) {
            return Some((i.ip(), depth));
        }
        if i.flow_control() != FlowControl::Next || registers.writes(i, arguments.registers()) {
            break;
        }
        match moved(i, &mut registers) {
            Some(bytes) => depth = depth.checked_add(bytes)?,
            None => break,
        }
    }
    Some((first.ip(), 0))
}

/// By how many bytes a stack grows that nothing else has moved yet.
fn moved(i: &Instruction, registers: &mut Registers) -> Option<u32> {
    use iced_x86::{Mnemonic, OpKind};
    let is_immediate = !matches!(i.op1_kind(), OpKind::Register | OpKind::Memory);
    match i.mnemonic() {
        Mnemonic::Sub if i.op0_register() == Register::RSP && is_immediate => u32::try_from(i.immediate(1)).ok(),
        _ => (!registers.writes(i, &[Register::RSP])).then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::instructions::decode;
    use super::*;

    fn of(code: &[u8]) -> (u64, u32) {
        entry(&decode(code, 0x1000).unwrap(), &Arguments::System(3)).unwrap()
    }

    #[test]
    fn the_first_that_the_kernel_does_itself() {
        for (code, expected) in [
            (&[0x55, 0xc3][..], (0x1000, 0)),                                        // push rbp; ret
            (&[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x57, 0xc3], (0x1004, 0)),              // endbr64; push r15
            (&[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x00, 0xc3], (0x1006, 24)), // sub rsp, 24; test edx, edx; js
            (&[0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0, 0xc3], (0x1004, 8)),        // sub rsp, 8; call
            (&[0x48, 0x89, 0xd1, 0x74, 0x00, 0xc3], (0x1003, 0)), // mov rcx, rdx; je: the fourth is not read
            (&[0x48, 0x81, 0xec, 0, 0, 1, 0, 0x53, 0xc3], (0x1007, 0x10000)), // sub rsp, 64 KiB; push rbx
        ] {
            assert_eq!(of(code), expected, "{code:x?}");
        }
    }

    #[test]
    fn else_the_first_of_all() {
        for code in [
            &[0x31, 0xff, 0x55, 0xc3][..],                     // xor edi, edi; push rbp
            &[0x40, 0xb6, 0x01, 0x55, 0xc3],                   // mov sil, 1; push rbp
            &[0x48, 0x83, 0xe4, 0xe0, 0x55, 0xc3],             // and rsp, -32; push rbp
            &[0x48, 0x29, 0xc4, 0x55, 0xc3],                   // sub rsp, rax; push rbp
            &[0x85, 0xd2, 0xc3, 0x55],                         // test edx, edx; ret; push rbp
            &[0x85, 0xd2, 0xff, 0xe0, 0x55],                   // test edx, edx; jmp rax; push rbp
            &[0x85, 0xd2, 0x0f, 0x1f, 0x00, 0x74, 0xfb, 0xc3], // test edx, edx; nop [rax]; je to that
        ] {
            assert_eq!(of(code), (0x1000, 0), "{code:x?}");
        }
    }

    #[test]
    fn a_jump_back_to_the_first_is_a_new_call() {
        assert_eq!(of(&[0x55, 0x5d, 0xeb, 0xfc]), (0x1000, 0)); // push rbp; pop rbp; jmp to the first
    }
}
