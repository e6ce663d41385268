//! The replaced functions, with the signatures of the C library.
//!
//! Each asks for a fault, makes the system call, and records what has changed. `open` is variadic in C; its one further
//! argument travels in a register like a fixed one on the processors that Perigee runs on.

use libc::{c_char, c_int, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};

use crate::plan::Operation;
use crate::record::{Entry, Kind};
use crate::state::{State, state};
use crate::system::{self, Returned};

macro_rules! replaced {
    ($(fn $name:ident($($argument:ident: $kind:ty),* $(,)?) -> $returned:ty { $body:expr })*) => {
        $(
            /// As in the C library.
            ///
            /// # Safety
            /// As in the C library.
            #[unsafe(no_mangle)]
            #[allow(unused_unsafe, clippy::missing_safety_doc, reason = "some of them only look at numbers")]
            pub unsafe extern "C" fn $name($($argument: $kind),*) -> $returned {
                // SAFETY: the arguments go to the system as they came.
                unsafe { ($body) as $returned }
            }
        )*
    };
}

replaced! {
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int { open_at(libc::AT_FDCWD, path, flags, mode) }
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int { open_at(libc::AT_FDCWD, path, flags, mode) }
    fn openat(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int { open_at(dir, path, flags, mode) }
    fn openat64(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int { open_at(dir, path, flags, mode) }
    fn creat(path: *const c_char, mode: mode_t) -> c_int {
        open_at(libc::AT_FDCWD, path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC, mode)
    }

    fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
        written(fd, None, || libc::syscall(libc::SYS_write, fd, bytes, count), || slice(bytes, count))
    }
    fn pwrite(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t {
        written(fd, Some(at), || libc::syscall(libc::SYS_pwrite64, fd, bytes, count, at), || slice(bytes, count))
    }
    fn pwrite64(fd: c_int, bytes: *const c_void, count: size_t, at: off_t) -> ssize_t {
        written(fd, Some(at), || libc::syscall(libc::SYS_pwrite64, fd, bytes, count, at), || slice(bytes, count))
    }
    fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
        written(fd, None, || libc::syscall(libc::SYS_writev, fd, parts, count), || slices(parts, count))
    }
    fn pwritev(fd: c_int, parts: *const iovec, count: c_int, at: off_t) -> ssize_t {
        // The offset's upper half is for processors of 32 bits.
        written(fd, Some(at), || libc::syscall(libc::SYS_pwritev, fd, parts, count, at, 0), || slices(parts, count))
    }
    fn pwritev64(fd: c_int, parts: *const iovec, count: c_int, at: off_t) -> ssize_t {
        written(fd, Some(at), || libc::syscall(libc::SYS_pwritev, fd, parts, count, at, 0), || slices(parts, count))
    }
    // Callers go on with reading and writing, which is recorded.
    fn copy_file_range(
        _from: c_int, _from_at: *mut off_t, _to: c_int, _to_at: *mut off_t, _count: size_t, _flags: c_uint,
    ) -> ssize_t { system::fail(libc::ENOSYS) }
    fn sendfile(_to: c_int, _from: c_int, _at: *mut off_t, _count: size_t) -> ssize_t { system::fail(libc::ENOSYS) }
    fn sendfile64(_to: c_int, _from: c_int, _at: *mut off_t, _count: size_t) -> ssize_t { system::fail(libc::ENOSYS) }

    fn ftruncate(fd: c_int, length: off_t) -> c_int { truncated(fd, length) }
    fn ftruncate64(fd: c_int, length: off_t) -> c_int { truncated(fd, length) }
    fn fallocate(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int { allocated(fd, mode, at, length) }
    fn fallocate64(fd: c_int, mode: c_int, at: off_t, length: off_t) -> c_int { allocated(fd, mode, at, length) }
    // These give the error itself.
    fn posix_fallocate(fd: c_int, at: off_t, length: off_t) -> c_int {
        if allocated(fd, 0, at, length) == 0 { 0 } else { *libc::__errno_location() }
    }
    fn posix_fallocate64(fd: c_int, at: off_t, length: off_t) -> c_int {
        if allocated(fd, 0, at, length) == 0 { 0 } else { *libc::__errno_location() }
    }

    fn fsync(fd: c_int) -> c_int { synced(fd, || libc::syscall(libc::SYS_fsync, fd)) }
    fn fdatasync(fd: c_int) -> c_int { synced(fd, || libc::syscall(libc::SYS_fdatasync, fd)) }

    fn rename(from: *const c_char, to: *const c_char) -> c_int {
        renamed(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0)
    }
    fn renameat(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char) -> c_int {
        renamed(from_dir, from, to_dir, to, 0)
    }
    fn renameat2(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> c_int {
        renamed(from_dir, from, to_dir, to, flags)
    }
    fn statvfs(path: *const c_char, space: *mut libc::statvfs) -> c_int { free_space(path, space) }
    fn statvfs64(path: *const c_char, space: *mut libc::statvfs) -> c_int { free_space(path, space) }

    fn unlink(path: *const c_char) -> c_int { unlinked(libc::AT_FDCWD, path, 0) }
    fn unlinkat(dir: c_int, path: *const c_char, flags: c_int) -> c_int { unlinked(dir, path, flags) }
    fn rmdir(path: *const c_char) -> c_int { unlinked(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
    fn mkdir(path: *const c_char, mode: mode_t) -> c_int { folder_made(libc::AT_FDCWD, path, mode) }
    fn mkdirat(dir: c_int, path: *const c_char, mode: mode_t) -> c_int { folder_made(dir, path, mode) }
}

unsafe fn open_at(dir: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> Returned {
    // SAFETY: the arguments go to the system as they came.
    let call = || unsafe { libc::syscall(libc::SYS_openat, dir, path, flags, mode) };
    let Some(state) = state() else { return call() };
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_CREAT != 0;
    // SAFETY: a path given to `open` ends with a zero byte.
    let name = unsafe { system::absolute(dir, path) };
    if !writes || !state.concerns(&name) {
        return call();
    }
    if flags & libc::O_CREAT != 0 {
        state.point(&name);
    }
    if let Some(failed) = state.failure(Operation::Open, &name) {
        return failed;
    }
    let mut files = state.files();
    let fd = call();
    if let Some((device, inode, mode)) = (fd >= 0).then(|| system::identity(fd as c_int)).flatten()
        && mode & libc::S_IFMT == libc::S_IFREG
    {
        files.track(device, inode);
        let truncated = u64::from(flags & libc::O_TRUNC != 0);
        files.append(&Entry::of_file(Kind::Opened, inode, truncated, &name));
    }
    fd
}

/// A write by `call`; `bytes` are what was to be written, of which the system may have taken a part.
fn written(fd: c_int, at: Option<off_t>, call: impl FnOnce() -> Returned, bytes: impl FnOnce() -> Vec<u8>) -> Returned {
    let Some(state) = state() else { return call() };
    let mut files = state.files();
    let Some(inode) = files.inode(fd) else {
        // Sockets and pipes may block: not with the lock.
        drop(files);
        return call();
    };
    if let Some(failed) = state.failure(Operation::Write, &system::path_of(fd)) {
        return failed;
    }
    let returned = call();
    if returned > 0 {
        let end = || {
            // SAFETY: asks for the position of an open file.
            unsafe { libc::syscall(libc::SYS_lseek, fd, 0, libc::SEEK_CUR) }
        };
        let offset = at.unwrap_or_else(|| end() - returned);
        let bytes = bytes();
        let taken = &bytes[..bytes.len().min(returned as usize)];
        files.append(&Entry::of_file(Kind::Written, inode, offset as u64, taken));
    }
    returned
}

/// # Safety
/// As for a write of `count` bytes.
unsafe fn slice(bytes: *const c_void, count: size_t) -> Vec<u8> {
    // SAFETY: the system has just read them.
    unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) }.to_vec()
}

/// # Safety
/// As for a write of these parts.
unsafe fn slices(parts: *const iovec, count: c_int) -> Vec<u8> {
    // SAFETY: the system has just read them.
    let parts = unsafe { std::slice::from_raw_parts(parts, count as usize) };
    let mut all = Vec::new();
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        // SAFETY: as above.
        all.extend_from_slice(unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len) });
    }
    all
}

fn truncated(fd: c_int, length: off_t) -> Returned {
    // SAFETY: takes numbers only.
    let call = || unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) };
    change(fd, Kind::LengthSet, length as u64, call)
}

fn allocated(fd: c_int, mode: c_int, at: off_t, length: off_t) -> Returned {
    // SAFETY: takes numbers only.
    let call = || unsafe { libc::syscall(libc::SYS_fallocate, fd, mode, at, length) };
    // Other modes keep the length, or are not used.
    if mode == 0 { change(fd, Kind::Allocated, (at + length) as u64, call) } else { call() }
}

fn change(fd: c_int, kind: Kind, number: u64, call: impl FnOnce() -> Returned) -> Returned {
    let Some(state) = state() else { return call() };
    let mut files = state.files();
    let Some(inode) = files.inode(fd) else {
        drop(files);
        return call();
    };
    if let Some(failed) = state.failure(Operation::Write, &system::path_of(fd)) {
        return failed;
    }
    let returned = call();
    if returned == 0 {
        files.append(&Entry::of_file(kind, inode, number, &[]));
    }
    returned
}

fn synced(fd: c_int, call: impl FnOnce() -> Returned) -> Returned {
    match state() {
        Some(state) => state.sync(fd, call),
        None => call(),
    }
}

unsafe fn renamed(from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_uint) -> Returned {
    // SAFETY: the arguments go to the system as they came.
    let call = || unsafe { libc::syscall(libc::SYS_renameat2, from_dir, from, to_dir, to, flags) };
    let Some(state) = state() else { return call() };
    // SAFETY: paths given to `rename` end with a zero byte.
    let (old, new) = unsafe { (system::absolute(from_dir, from), system::absolute(to_dir, to)) };
    if !state.concerns(&new) {
        return call();
    }
    state.point(&new);
    if let Some(failed) = state.failure(Operation::Rename, &new) {
        return failed;
    }
    record_path(state, call, &Entry { kind: Kind::Renamed, inode: 0, number: 0, first: &old, second: &new })
}

unsafe fn unlinked(dir: c_int, path: *const c_char, flags: c_int) -> Returned {
    // SAFETY: the arguments go to the system as they came.
    let call = || unsafe { libc::syscall(libc::SYS_unlinkat, dir, path, flags) };
    let Some(state) = state() else { return call() };
    // SAFETY: a path given to `unlink` ends with a zero byte.
    let name = unsafe { system::absolute(dir, path) };
    if !state.concerns(&name) {
        return call();
    }
    state.point(&name);
    if let Some(failed) = state.failure(Operation::Unlink, &name) {
        return failed;
    }
    let kind = if flags & libc::AT_REMOVEDIR != 0 { Kind::FolderRemoved } else { Kind::Unlinked };
    record_path(state, call, &Entry::of_path(kind, 0, &name))
}

unsafe fn folder_made(dir: c_int, path: *const c_char, mode: mode_t) -> Returned {
    // SAFETY: the arguments go to the system as they came.
    let call = || unsafe { libc::syscall(libc::SYS_mkdirat, dir, path, mode) };
    let Some(state) = state() else { return call() };
    // SAFETY: a path given to `mkdir` ends with a zero byte.
    let name = unsafe { system::absolute(dir, path) };
    if !state.concerns(&name) {
        return call();
    }
    record_path(state, call, &Entry::of_path(Kind::FolderMade, 0, &name))
}

/// As the C library makes it of `statfs`, or with the free space that was asked for.
unsafe fn free_space(path: *const c_char, space: *mut libc::statvfs) -> Returned {
    // SAFETY: all zeros are a valid `statfs`.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the caller's path, and a pointer to what lives here.
    let returned = unsafe { libc::syscall(libc::SYS_statfs, path, &raw mut found) };
    if returned < 0 {
        return returned;
    }
    let block = if found.f_frsize > 0 { found.f_frsize } else { found.f_bsize } as u64;
    // SAFETY: all zeros are a valid `statvfs`.
    let mut space_found: libc::statvfs = unsafe { std::mem::zeroed() };
    space_found.f_bsize = found.f_bsize as u64;
    space_found.f_frsize = block;
    space_found.f_blocks = found.f_blocks;
    space_found.f_bfree = found.f_bfree;
    space_found.f_bavail = state().and_then(State::free_bytes).map_or(found.f_bavail, |bytes| bytes / block);
    space_found.f_files = found.f_files;
    space_found.f_ffree = found.f_ffree;
    space_found.f_favail = found.f_ffree;
    space_found.f_namemax = found.f_namelen as u64;
    // SAFETY: the caller gave a place for it.
    unsafe { *space = space_found };
    returned
}

fn record_path(state: &State, call: impl FnOnce() -> Returned, entry: &Entry<'_>) -> Returned {
    let mut files = state.files();
    let returned = call();
    if returned == 0 {
        files.append(entry);
    }
    returned
}
