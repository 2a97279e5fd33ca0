//! The four calls of bpf(2) that there is no small crate for.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::super::own::own;

/// An array that can be mapped, zeroed.
pub fn array(entries: u32, value_bytes: u32) -> io::Result<OwnedFd> {
    let (kind, key_bytes, flags) = (BPF_MAP_TYPE_ARRAY, 4, BPF_F_MMAPABLE);
    call(BPF_MAP_CREATE, &MapCreate { kind, key_bytes, value_bytes, entries, flags })
}

/// A ring buffer of so many bytes, a power of two and whole pages.
pub fn ring_buffer(bytes: u32) -> io::Result<OwnedFd> {
    let (kind, entries) = (BPF_MAP_TYPE_RINGBUF, bytes);
    call(BPF_MAP_CREATE, &MapCreate { kind, key_bytes: 0, value_bytes: 0, entries, flags: 0 })
}

/// Loads a program for the tracepoint of this BTF type.
pub fn load(code: &[u64], tracepoint: u32) -> io::Result<OwnedFd> {
    let mut image = ProgramLoad::new_zeroed();
    image.kind = BPF_PROG_TYPE_TRACING;
    image.count = code.len() as u32;
    image.code = code.as_ptr().expose_provenance() as u64;
    image.licence = LICENCE.as_ptr().expose_provenance() as u64;
    image.name[..NAME.len()].copy_from_slice(NAME);
    image.attach_kind = BPF_TRACE_RAW_TP;
    image.attach_type = tracepoint;
    call(BPF_PROG_LOAD, &image)
}

/// Lets a program run, for as long as what comes back is open.
pub fn fasten(program: BorrowedFd) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd().cast_unsigned();
    call(BPF_RAW_TRACEPOINT_OPEN, &TracepointOpen { name: 0, program, rest: 0 })
}

fn call<T: IntoBytes + Immutable>(command: libc::c_long, image: &T) -> io::Result<OwnedFd> {
    let image = image.as_bytes();
    // SAFETY: nobody wraps bpf(2) alone. The kernel reads the image, of the length that is told,
    // and what `load` names in it, which is borrowed until after the call; it writes nothing.
    let raw = unsafe {
        libc::syscall(libc::SYS_bpf, command, image.as_ptr(), image.len() as libc::c_long)
    };
    if raw < 0 {
        let error = io::Error::last_os_error();
        let why = match error.raw_os_error() {
            Some(libc::EPERM) => "host: CAP_BPF and CAP_PERFMON are missing",
            _ => "host: this kernel does not take the programs of dense sleep",
        };
        return Err(io::Error::new(error.kind(), format!("{why} ({error})")));
    }
    Ok(own(raw as i32))
}

/// The beginnings of union bpf_attr, linux/bpf.h.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

#[derive(FromZeros, IntoBytes, Immutable)]
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    code: u64,
    licence: u64,
    log: [u32; 4],
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_kind: u32,
    debug: [u32; 9],
    attach_type: u32,
}

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct TracepointOpen {
    name: u64,
    program: u32,
    rest: u32,
}

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;
const BPF_F_MMAPABLE: u32 = 1 << 10;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_RAW_TP: u32 = 23;
/// What the kernel asks of a program that looks into its structures.
const LICENCE: &CStr = c"Dual MIT/GPL";
const NAME: &[u8] = b"torpor_stir";

const _: () = assert!(std::mem::offset_of!(ProgramLoad, attach_kind) == 68);
const _: () = assert!(std::mem::offset_of!(ProgramLoad, attach_type) == 108);
