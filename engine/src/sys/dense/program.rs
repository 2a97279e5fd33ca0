//! The program that both tracepoints run, in the kernel's instructions (RFC 9669).

use std::os::fd::RawFd;

use super::{ARMED, COOKIE_AT, STATE_AT, TAG, TOLD};

/// Instructions for sockets whose tag lies at this offset of struct tcp_sock, and for these maps.
///
/// In C: `sk = ctx[0]; tcp = bpf_skc_to_tcp_sock(sk)`; if `tcp->notsent_lowat` has the tag,
/// `record = records[slot]`; if the cookies are the same and the record was armed and is told now,
/// `events.output(slot)`; if that fails, `*(u64 *)records[slots] += 1`.
pub fn code(tag_offset: i16, slots: u32, records: RawFd, events: RawFd) -> Vec<u64> {
    let mut code = vec![
        insn(LOAD_64, 6, 1, 0, 0),
        insn(MOVE, 1, 6, 0, 0),
        insn(CALL, 0, 0, 0, SKC_TO_TCP_SOCK),
        insn(JUMP_IF_EQUAL, 0, 0, OUT, 0),
        insn(LOAD_32, 7, 0, tag_offset, 0),
        insn(MOVE, 2, 7, 0, 0),
        insn(SHIFT_RIGHT, 2, 0, 0, TAG.trailing_zeros().cast_signed()),
        insn(JUMP_IF_EQUAL, 2, 0, OUT, 0),
        insn(AND_32, 7, 0, 0, (TAG - 1).cast_signed()),
        // The slot, in eight bytes of the stack: the key of its record, and the event.
        insn(STORE_64, 10, 7, SLOT, 0),
        insn(MOVE, 1, 6, 0, 0),
        insn(CALL, 0, 0, 0, GET_SOCKET_COOKIE),
        insn(MOVE, 9, 0, 0, 0),
    ];
    code.extend(look_up(records));
    code.extend([
        insn(MOVE, 6, 0, 0, 0),
        insn(LOAD_64, 1, 6, COOKIE_AT as i16, 0),
        insn(JUMP_UNLESS_SAME, 1, 9, OUT, 0),
        insn(MOVE_VALUE, 0, 0, 0, ARMED as i32),
        insn(MOVE_VALUE, 1, 0, 0, TOLD as i32),
        insn(ATOMIC_64, 6, 1, STATE_AT as i16, COMPARE_EXCHANGE),
        insn(JUMP_UNLESS_EQUAL, 0, 0, OUT, ARMED as i32),
    ]);
    code.extend(load_map(1, events));
    code.extend([
        insn(MOVE, 2, 10, 0, 0),
        insn(ADD, 2, 0, 0, SLOT.into()),
        insn(MOVE_VALUE, 3, 0, 0, 8),
        insn(MOVE_VALUE, 4, 0, 0, 0),
        insn(CALL, 0, 0, 0, RINGBUF_OUTPUT),
        insn(JUMP_IF_EQUAL, 0, 0, OUT, 0),
        // There was no room for the event: it is counted behind the records.
        insn(MOVE_VALUE, 1, 0, 0, slots.cast_signed()),
        insn(STORE_64, 10, 1, SLOT, 0),
    ]);
    code.extend(look_up(records));
    code.extend([
        insn(MOVE_VALUE, 1, 0, 0, 1),
        insn(ATOMIC_64, 0, 1, 0, ATOMIC_ADD),
        insn(MOVE_VALUE, 0, 0, 0, 0),
        insn(EXIT, 0, 0, 0, 0),
    ]);
    let out = code.len() - 2;
    for (at, word) in code.iter_mut().enumerate() {
        if is_jump(*word as u8) {
            *word |= ((out - at - 1) as u64) << OFFSET_SHIFT;
        }
    }
    code
}

/// struct bpf_insn: opcode (8), destination and source (4 each), offset (16), immediate (32).
fn insn(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    let registers = u64::from(destination | source << 4) << 8;
    let offset = u64::from(offset.cast_unsigned()) << OFFSET_SHIFT;
    u64::from(code) | registers | offset | u64::from(immediate.cast_unsigned()) << 32
}

/// R0 becomes the address of the record whose number lies on the stack.
fn look_up(records: RawFd) -> [u64; 6] {
    let [low, high] = load_map(1, records);
    [
        low,
        high,
        insn(MOVE, 2, 10, 0, 0),
        insn(ADD, 2, 0, 0, SLOT.into()),
        insn(CALL, 0, 0, 0, MAP_LOOKUP),
        insn(JUMP_IF_EQUAL, 0, 0, OUT, 0),
    ]
}

/// Two words: the second has nothing to add.
fn load_map(register: u8, map: RawFd) -> [u64; 2] {
    [insn(LOAD_MAP, register, PSEUDO_MAP_FD, 0, map), 0]
}

fn is_jump(code: u8) -> bool {
    matches!(code, JUMP_IF_EQUAL | JUMP_UNLESS_EQUAL | JUMP_UNLESS_SAME)
}

/// Where a jump leads is filled in when the end is known.
const OUT: i16 = 0;
/// The slot's place on the stack.
const SLOT: i16 = -8;
const OFFSET_SHIFT: u32 = 16;

const LOAD_MAP: u8 = 0x18;
const LOAD_32: u8 = 0x61;
const LOAD_64: u8 = 0x79;
const STORE_64: u8 = 0x7b;
const ATOMIC_64: u8 = 0xdb;
const MOVE: u8 = 0xbf;
const MOVE_VALUE: u8 = 0xb7;
const ADD: u8 = 0x07;
const SHIFT_RIGHT: u8 = 0x77;
const AND_32: u8 = 0x54;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_UNLESS_SAME: u8 = 0x5d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const PSEUDO_MAP_FD: u8 = 1;
const COMPARE_EXCHANGE: i32 = 0xf1;
const ATOMIC_ADD: i32 = 0;

/// Helpers, linux/bpf.h.
const MAP_LOOKUP: i32 = 1;
const GET_SOCKET_COOKIE: i32 = 46;
const RINGBUF_OUTPUT: i32 = 130;
const SKC_TO_TCP_SOCK: i32 = 137;

const _: () = assert!(cfg!(target_endian = "little"), "instructions are little-endian words");
