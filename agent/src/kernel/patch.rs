//! Fills in what the probe's compiler could not know: the numbers of kernel functions. PURE.

use common::layout::{KernelFunction, TAIL_CALL};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, SectionKind};

const INSTRUCTION_BYTES: usize = 8;
const CALL: u8 = 0x85;
/// `BPF_PSEUDO_KFUNC_CALL`, in the register byte's upper half.
const TO_KERNEL_FUNCTION: u8 = 2 << 4;
const TO_HELPER: u8 = 0;

/// Replaces every placeholder of `function` by a call of the function with this BTF id; returns
/// how many there were.
///
/// # Errors
///
/// When the object is not ELF.
pub fn patch(object: &mut [u8], function: KernelFunction, id: u32) -> Result<usize, object::Error> {
    replace(object, function.placeholder(), (TO_KERNEL_FUNCTION, id))
}

/// Replaces the placeholders of tail calls, where they are wanted. A program that has one, even where the verifier drops it, pays for
/// it each time it starts.
///
/// # Errors
///
/// As [`patch`].
pub fn link_tail_calls(object: &mut [u8]) -> Result<usize, object::Error> {
    /// `bpf_tail_call`.
    const HELPER: u32 = 12;
    replace(object, TAIL_CALL, (TO_HELPER, HELPER))
}

fn replace(object: &mut [u8], placeholder: i32, (kind, number): (u8, u32)) -> Result<usize, object::Error> {
    let file = ElfFile64::<object::Endianness>::parse(&*object)?;
    let code: Vec<_> = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
        .filter_map(|section| section.file_range())
        .collect();
    let placeholder = placeholder.to_le_bytes();
    let mut patched = 0;
    for (start, length) in code {
        let (start, length) = (start as usize, length as usize);
        let Some(instructions) = object.get_mut(start..start + length) else { continue };
        for instruction in instructions.chunks_exact_mut(INSTRUCTION_BYTES) {
            if instruction[0] == CALL && instruction[4..] == placeholder {
                instruction[1] = kind;
                instruction[4..].copy_from_slice(&number.to_le_bytes());
                patched += 1;
            }
        }
    }
    Ok(patched)
}
