//! Where each architecture has what a function is given and returns.

#[cfg(not(bpf_target_arch = "aarch64"))]
pub(crate) use amd64::{go, goroutine, result, stack};
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) use arm64::{go, goroutine, result, stack};

#[cfg(not(bpf_target_arch = "aarch64"))]
mod amd64 {
    use aya_ebpf::programs::ProbeContext;

    macro_rules! register {
        ($ctx:ident, $register:ident) => {
            // SAFETY: the context of this program.
            unsafe { (*$ctx.regs).$register }
        };
    }

    /// The stack pointer.
    #[inline(always)]
    pub(crate) fn stack(ctx: &ProbeContext) -> u64 {
        register!(ctx, rsp)
    }

    /// What a function in C returns.
    #[inline(always)]
    pub(crate) fn result(ctx: &ProbeContext) -> u64 {
        register!(ctx, rax)
    }

    /// The goroutine (Go's `g`).
    #[inline(always)]
    pub(crate) fn goroutine(ctx: &ProbeContext) -> u64 {
        register!(ctx, r14)
    }

    /// An argument of a function in Go, or one of its results: the first or the second.
    #[inline(always)]
    pub(crate) fn go(ctx: &ProbeContext, number: u32) -> u64 {
        if number == 0 { register!(ctx, rax) } else { register!(ctx, rbx) }
    }
}

#[cfg(bpf_target_arch = "aarch64")]
mod arm64 {
    use aya_ebpf::bindings::user_pt_regs;
    use aya_ebpf::programs::ProbeContext;

    const GOROUTINE: usize = 28;

    macro_rules! registers {
        ($ctx:ident, $($register:tt)+) => {
            // SAFETY: the context of this program.
            unsafe { (*$ctx.regs.cast::<user_pt_regs>()).$($register)+ }
        };
    }

    /// The stack pointer.
    #[inline(always)]
    pub(crate) fn stack(ctx: &ProbeContext) -> u64 {
        registers!(ctx, sp)
    }

    /// What a function in C returns.
    #[inline(always)]
    pub(crate) fn result(ctx: &ProbeContext) -> u64 {
        registers!(ctx, regs[0])
    }

    /// The goroutine (Go's `g`).
    #[inline(always)]
    pub(crate) fn goroutine(ctx: &ProbeContext) -> u64 {
        registers!(ctx, regs[GOROUTINE])
    }

    /// An argument of a function in Go, or one of its results: the first or the second.
    #[inline(always)]
    pub(crate) fn go(ctx: &ProbeContext, number: u32) -> u64 {
        if number == 0 { registers!(ctx, regs[0]) } else { registers!(ctx, regs[1]) }
    }
}
