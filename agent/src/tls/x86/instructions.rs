//! What single instructions are and do. PURE.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use crate::tls::trouble::Why;

/// All instructions of a stretch of code.
pub fn decode(code: &[u8], address: u64) -> Result<Vec<Instruction>, Why> {
    let instructions = Decoder::with_ip(64, code, address, DecoderOptions::NONE).into_iter();
    instructions.map(|i| if i.is_invalid() { Err(Why::Undecodable(i.ip())) } else { Ok(i) }).collect()
}

/// Whether the kernel does it itself at a probe, where it must otherwise let the processor take a single step, which costs twenty
/// times as much (`arch/x86/kernel/uprobes.c`, `branch_setup_xol_ops` and `push_setup_xol_ops`).
pub fn is_emulated(i: &Instruction) -> bool {
    match i.flow_control() {
        FlowControl::ConditionalBranch => i.is_jcc_short_or_near(),
        FlowControl::UnconditionalBranch => i.is_jmp_short_or_near(),
        FlowControl::Call => i.is_call_near(),
        FlowControl::Next => match i.mnemonic() {
            Mnemonic::Push => i.op0_register().is_gpr64(),
            Mnemonic::Nop => i.len() == 1,
            _ => false,
        },
        _ => false,
    }
}

/// Where a jump with a fixed target goes.
pub fn jump_target(i: &Instruction) -> Option<u64> {
    let is_jump = matches!(i.flow_control(), FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch);
    (is_jump && i.near_branch_target() != 0).then(|| i.near_branch_target())
}

/// Where the address stands to which a call or a jump through memory goes.
pub fn slot(i: &Instruction) -> Option<u64> {
    let is_indirect = matches!(i.flow_control(), FlowControl::IndirectBranch | FlowControl::IndirectCall);
    (is_indirect && i.is_ip_rel_memory_operand()).then(|| i.ip_rel_memory_address())
}

/// Which registers are written.
pub struct Registers(InstructionInfoFactory);

impl Registers {
    /// With room for what an instruction uses.
    pub fn new() -> Self {
        Self(InstructionInfoFactory::new())
    }

    /// Whether one of these 64-bit registers is written, in part or perhaps.
    pub fn writes(&mut self, i: &Instruction, registers: &[Register]) -> bool {
        let written = |access| {
            matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
        };
        let mut used = self.0.info(i).used_registers().iter();
        used.any(|used| written(used.access()) && registers.contains(&used.register().full_register()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(code: &[u8]) -> Instruction {
        decode(code, 0x1000).unwrap()[0]
    }

    #[test]
    fn what_the_kernel_does_itself() {
        for (code, expected) in [
            (&[0x55][..], true),                // push rbp
            (&[0x41, 0x57], true),              // push r15
            (&[0x66, 0x55], false),             // push bp
            (&[0x6a, 0x01], false),             // push 1
            (&[0xff, 0x30], false),             // push [rax]
            (&[0x90], true),                    // nop
            (&[0x66, 0x90], false),             // xchg ax, ax
            (&[0x0f, 0x1f, 0x00], false),       // nop [rax]
            (&[0xf3, 0x0f, 0x1e, 0xfa], false), // endbr64
            (&[0xe8, 0, 0, 0, 0], true),        // call
            (&[0xff, 0xd0], false),             // call rax
            (&[0xeb, 0x10], true),              // jmp
            (&[0xe9, 0, 0, 0, 0], true),        // jmp, far
            (&[0xff, 0xe0], false),             // jmp rax
            (&[0x74, 0x10], true),              // je
            (&[0x0f, 0x84, 0, 0, 0, 0], true),  // je, far
            (&[0xe3, 0x10], false),             // jrcxz
            (&[0xe2, 0x10], false),             // loop
            (&[0xc3], false),                   // ret
            (&[0x48, 0x83, 0xec, 0x08], false), // sub rsp, 8
        ] {
            assert_eq!(is_emulated(&one(code)), expected, "{code:x?}");
        }
    }

    #[test]
    fn where_jumps_go() {
        assert_eq!(jump_target(&one(&[0x74, 0x10])), Some(0x1012));
        assert_eq!(jump_target(&one(&[0xe8, 0, 0, 0, 0])), None);
        assert_eq!(jump_target(&one(&[0xff, 0xe0])), None);
        assert_eq!(slot(&one(&[0xff, 0x25, 0x10, 0, 0, 0])), Some(0x1016));
        assert_eq!(slot(&one(&[0xff, 0x15, 0x10, 0, 0, 0])), Some(0x1016));
        assert_eq!(slot(&one(&[0xff, 0xe0])), None);
    }

    #[test]
    fn parts_of_a_register_are_written_with_it() {
        let mut registers = Registers::new();
        assert!(registers.writes(&one(&[0x31, 0xc0]), &[Register::RAX])); // xor eax, eax
        assert!(registers.writes(&one(&[0x0f, 0x9f, 0xc0]), &[Register::RAX])); // setg al
        assert!(registers.writes(&one(&[0x0f, 0x48, 0xc2]), &[Register::RAX])); // cmovs eax, edx
        assert!(!registers.writes(&one(&[0x85, 0xc0]), &[Register::RAX])); // test eax, eax
    }

    #[test]
    fn what_is_no_instruction_is_told() {
        assert_eq!(decode(&[0x90, 0x06], 0x1000), Err(Why::Undecodable(0x1001)));
        assert_eq!(decode(&[0x90, 0xe8, 0], 0x1000), Err(Why::Undecodable(0x1001)));
    }
}
