//! The system itself, below the C library's functions that this library replaces.

use std::ffi::CStr;
use std::os::fd::RawFd;

use libc::{c_char, c_int, c_long};

/// What a system call gives: negative numbers are in `errno`, as the C library has it.
pub(crate) type Returned = c_long;

/// Writes all of it; the record's disk is the test's own trouble.
pub(crate) fn write_all(fd: RawFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are of one slice.
        let written = unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) };
        if written <= 0 {
            message("perigee-faults: the record cannot be written\n");
            std::process::abort();
        }
        bytes = &bytes[written as usize..];
    }
}

/// To standard error.
pub(crate) fn message(text: &str) {
    // SAFETY: as above; that nobody reads it is no concern.
    unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
}

/// Opens a file to append to.
pub(crate) fn open_record(path: &CStr) -> RawFd {
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
    // SAFETY: the path ends with a zero byte.
    let fd = unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o644) };
    if fd < 0 {
        message("perigee-faults: the record cannot be opened\n");
        std::process::abort();
    }
    fd as RawFd
}

pub(crate) fn exists(path: &CStr) -> bool {
    // SAFETY: the path ends with a zero byte.
    unsafe { libc::syscall(libc::SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), libc::F_OK) == 0 }
}

/// Device, inode and mode of an open file.
pub(crate) fn identity(fd: RawFd) -> Option<(u64, u64, u32)> {
    // SAFETY: all zeros are a valid `stat`.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is of a `stat` that lives here.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some((stat.st_dev, stat.st_ino, stat.st_mode))
}

/// The path of an open file or folder, as it is named now.
pub(crate) fn path_of(fd: RawFd) -> Vec<u8> {
    let link = if fd == libc::AT_FDCWD { "/proc/self/cwd\0".to_owned() } else { format!("/proc/self/fd/{fd}\0") };
    let mut buffer = vec![0_u8; libc::PATH_MAX as usize];
    // SAFETY: `link` ends with a zero byte; pointer and length are of one buffer.
    let length = unsafe {
        let (link, target) = (link.as_ptr().cast::<c_char>(), buffer.as_mut_ptr().cast::<c_char>());
        libc::readlink(link, target, buffer.len())
    };
    buffer.truncate(usize::try_from(length).unwrap_or(0));
    buffer
}

/// The absolute path that `path` means beside the folder `dir`.
///
/// # Safety
/// `path` ends with a zero byte.
pub(crate) unsafe fn absolute(dir: c_int, path: *const c_char) -> Vec<u8> {
    if path.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes();
    if path.starts_with(b"/") {
        return path.to_vec();
    }
    let mut whole = path_of(dir);
    whole.push(b'/');
    whole.extend_from_slice(path);
    whole
}

/// Fails a call: -1, and `errno` says why.
pub(crate) fn fail(error: c_int) -> Returned {
    // SAFETY: the C library gives each thread a valid place.
    unsafe { *libc::__errno_location() = error };
    -1
}

pub(crate) fn sleep_ms(millis: u64) {
    let time = libc::timespec { tv_sec: (millis / 1000) as i64, tv_nsec: (millis % 1000 * 1_000_000) as i64 };
    // SAFETY: the pointer is of a `timespec` that lives here; the rest of an interrupted sleep is not asked for.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, std::ptr::null_mut::<libc::timespec>()) };
}

pub(crate) fn kill_self() -> ! {
    loop {
        // SAFETY: ends this process at once, without any cleaning up, which is what is asked for.
        unsafe { libc::syscall(libc::SYS_kill, libc::getpid(), libc::SIGKILL) };
    }
}
