//! The wall clock, which may jump. The clocks that never jump on a real machine do not jump here.

use libc::{c_int, clockid_t, timespec};

use crate::state::plan;

/// As in the C library.
///
/// # Safety
/// As in the C library: `time` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's promise.
    let returned = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as c_int;
    if returned != 0 || clock != libc::CLOCK_REALTIME {
        return returned;
    }
    if let Some((after_ms, by_ms)) = plan().clock_jump
        && running_ms() >= after_ms
    {
        // SAFETY: the call above has just written to it.
        let time = unsafe { &mut *time };
        let nanos = time.tv_nsec + by_ms % 1000 * 1_000_000;
        time.tv_sec += by_ms / 1000 + nanos.div_euclid(1_000_000_000);
        time.tv_nsec = nanos.rem_euclid(1_000_000_000);
    }
    returned
}

/// Milliseconds since the first call.
fn running_ms() -> u64 {
    static START: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is of a `timespec` that lives here.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    now - *START.get_or_init(|| now)
}
