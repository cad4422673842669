//! Kernel memory and kernel functions, as the agent described them in the constants.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use common::layout::{Constants, KernelFunction, TAIL_CALL};
use core::arch::asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;

/// Written by the agent before it loads the probe; the verifier sees plain numbers.
#[unsafe(no_mangle)]
pub(crate) static CONSTANTS: Constants = Constants::UNKNOWN;

/// A member of [`CONSTANTS`], which must not be folded into the code.
macro_rules! constant {
    ($($member:ident).+) => {
        // SAFETY: a static, read as the type it has.
        unsafe { core::ptr::read_volatile(&raw const crate::kernel::CONSTANTS.$($member).+) }
    };
}
pub(crate) use constant;

/// The offset of a kernel member.
macro_rules! offset {
    ($member:ident) => {
        crate::kernel::constant!(layout.$member)
    };
}
pub(crate) use offset;

/// Reads the member at `offset` of a kernel structure whose type the verifier knows.
///
/// The verifier checks the access against the kernel's BTF, and the kernel turns a fault into 0.
#[inline(always)]
pub(crate) fn member<T: Copy>(structure: *const u8, offset: u32) -> T {
    // SAFETY: the verifier admits only loads within the structure that `structure` points to.
    unsafe { core::ptr::read_volatile(structure.byte_add(offset as usize).cast()) }
}

/// Reads kernel memory that the verifier knows no type for; 0 where it cannot be read.
#[inline(always)]
pub(crate) fn read_kernel<T: Copy + Default>(structure: *const u8, offset: u32) -> T {
    // SAFETY: the helper checks the source.
    unsafe { bpf_probe_read_kernel(structure.byte_add(offset as usize).cast()) }.unwrap_or_default()
}

/// The bits of a number that a constant mask has. The compiler cannot drop the operation, however sure it is
/// of the number's bound, so the verifier sees the bound too.
macro_rules! bounded {
    ($number:expr, $mask:expr) => {{
        let mut bounded = u64::from($number);
        // SAFETY: one instruction on one register.
        unsafe {
            core::arch::asm!("{number} &= {mask}", number = inout(reg) bounded, mask = const $mask, options(pure, nomem, nostack))
        };
        bounded
    }};
}
pub(crate) use bounded;

/// Eight bytes from any address. The compiler would load them one by one: it does not know that
/// the machines this runs on allow unaligned loads.
///
/// # Safety
///
/// The bytes must be there.
#[inline(always)]
pub(crate) unsafe fn load_word(address: *const u8) -> u64 {
    let word: u64;
    // SAFETY: the caller's.
    unsafe {
        asm!("{word} = *(u64 *)({address} + 0)", word = out(reg) word, address = in(reg) address, options(pure, readonly, nostack));
    }
    u64::from_le(word)
}

/// Sixteen bytes from any address, as [`load_word`].
///
/// # Safety
///
/// The bytes must be there.
#[inline(always)]
pub(crate) unsafe fn load_pair(address: *const u8) -> (u64, u64) {
    let (first, second): (u64, u64);
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "{first} = *(u64 *)({address} + 0)",
            "{second} = *(u64 *)({address} + 8)",
            first = out(reg) first,
            second = lateout(reg) second,
            address = in(reg) address,
            options(pure, readonly, nostack),
        );
    }
    (u64::from_le(first), u64::from_le(second))
}

/// Adds to a number that other CPUs add to. The compiler has no atomic operation for BPF.
#[inline(always)]
pub(crate) fn add(counter: &mut u64, number: u64) {
    let address: *mut u64 = counter;
    // SAFETY: an aligned word that the reference holds.
    unsafe {
        asm!("lock *(u64 *)({address} + 0) += {number}", address = in(reg) address, number = in(reg) number, options(nostack));
    }
}

/// The same, in order: what was written before is seen by whoever sees the sum, what is read behind is not older. Returns what
/// was there.
#[inline(always)]
pub(crate) fn add_in_order(counter: &mut u64, number: u64) -> u64 {
    let address: *mut u64 = counter;
    let mut before = number;
    // SAFETY: an aligned word that the reference holds.
    unsafe {
        asm!(
            "{number} = atomic_fetch_add((u64 *)({address} + 0), {number})",
            address = in(reg) address,
            number = inout(reg) before,
            options(nostack),
        );
    }
    before
}

/// The same of a number of 32 bits.
#[inline(always)]
pub(crate) fn add_to_half_in_order(counter: &mut u32, number: u32) -> u32 {
    let address: *mut u32 = counter;
    let mut before = number;
    // SAFETY: an aligned half of a word that the reference holds.
    unsafe {
        asm!(
            "{number} = atomic_fetch_add((u32 *)({address} + 0), {number})",
            address = in(reg) address,
            number = inout(wreg) before,
            options(nostack),
        );
    }
    before
}

/// `struct bpf_dynptr`: opaque.
pub(crate) type Dynptr = MaybeUninit<[u64; 2]>;

/// `int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit)`,
/// open to tracing programs since Linux 6.11.
#[inline(always)]
pub(crate) fn dynptr_from_skb(skb: *const u8, dynptr: &mut Dynptr) -> bool {
    let result: i64;
    // SAFETY: the loader patches the call; arguments and clobbers are those of the BPF calling
    // convention.
    unsafe {
        asm!(
            "call {function}",
            function = const KernelFunction::DynptrFromSkb.placeholder(),
            inout("r1") skb => _,
            inout("r2") 0_u64 => _,
            inout("r3") dynptr.as_mut_ptr() => _,
            lateout("r0") result,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
    result == 0
}

/// `void *bpf_rdonly_cast(const void *obj__ign, u32 btf_id__k)`, since Linux 6.2.
#[inline(always)]
pub(crate) fn read_only_cast(structure: *const u8, type_id: u32) -> *const u8 {
    let result;
    // SAFETY: the loader patches the call; arguments and clobbers are those of the BPF calling
    // convention.
    unsafe {
        asm!(
            "call {function}",
            function = const KernelFunction::ReadOnlyCast.placeholder(),
            inout("r1") structure => _,
            inout("r2") u64::from(type_id) => _,
            lateout("r0") result,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
    result
}

/// Memory that can be read at any address (Linux 6.17); 0 where it cannot.
#[inline(always)]
pub(crate) fn untyped(address: u64) -> *const u8 {
    const NO_TYPE: u32 = 0;
    read_only_cast(address as *const u8, NO_TYPE)
}

/// `void bpf_tail_call(void *ctx, struct bpf_map *programs, u32 index)`, of the first program; it returns only where there is none.
#[inline(always)]
pub(crate) fn tail_call(ctx: *const c_void, programs: *const u8) {
    // SAFETY: the loader links the call, or it is dead code; arguments and clobbers are those of the BPF calling convention. The
    // programs are of the hook that this one is of.
    unsafe {
        asm!(
            "call {function}",
            function = const TAIL_CALL,
            inout("r1") ctx => _,
            inout("r2") programs => _,
            inout("r3") 0_u64 => _,
            lateout("r0") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}

/// `void bpf_preempt_disable(void)`, since Linux 6.10: a task that is preempted inside the probe
/// would make the kernel skip the probe for every other task on this CPU.
#[inline(always)]
pub(crate) fn hold_preemption() {
    call_without_arguments::<{ KernelFunction::PreemptDisable.placeholder() }>();
}

/// `void bpf_preempt_enable(void)`.
#[inline(always)]
pub(crate) fn release_preemption() {
    call_without_arguments::<{ KernelFunction::PreemptEnable.placeholder() }>();
}

/// What an expression is, with preemption held off meanwhile unless `hold` (a constant) is 0. The expression must not return from
/// the function around it. No function with a closure: the compiler does not inline that, and the call cost each receive 50
/// instructions.
macro_rules! without_preemption {
    ($hold:expr, $act:expr) => {{
        let hold = $hold;
        if hold != 0 {
            $crate::kernel::hold_preemption();
        }
        let result = $act;
        if hold != 0 {
            $crate::kernel::release_preemption();
        }
        result
    }};
}
pub(crate) use without_preemption;

#[inline(always)]
fn call_without_arguments<const FUNCTION: i32>() {
    // SAFETY: the loader patches the call; the clobbers are those of the BPF calling convention.
    unsafe {
        asm!(
            "call {function}",
            function = const FUNCTION,
            lateout("r0") _,
            lateout("r1") _,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
        );
    }
}
