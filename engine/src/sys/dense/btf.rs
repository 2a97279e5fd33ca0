//! What the running kernel says of its own types (BTF, Documentation/bpf/btf.rst).

use std::fs;
use std::io;

/// The types of the kernel. Numbers begin at 1.
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type begins.
    types: Vec<usize>,
    strings: usize,
}

impl Btf {
    /// Reads all of them, some 5 MB.
    pub fn of_kernel() -> io::Result<Self> {
        let bytes = fs::read(PATH).map_err(|error| {
            io::Error::new(error.kind(), format!("host: this kernel has no {PATH} ({error})"))
        })?;
        Self::parse(bytes).ok_or_else(|| unknown("its BTF"))
    }

    /// `None` when the bytes are no BTF.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at| word(&bytes, at);
        if word(0)? & 0xFFFF != MAGIC {
            return None;
        }
        let head = word(4)? as usize;
        let (first, count) = (head + word(8)? as usize, word(12)? as usize);
        let strings = head + word(16)? as usize;
        let mut types = vec![0];
        let mut at = first;
        while at < first + count {
            types.push(at);
            at += TYPE_BYTES + rest_bytes(word(at + 4)?)?;
        }
        Some(Self { bytes, types, strings })
    }

    /// The type that a program for this tracepoint is for.
    pub fn tracepoint(&self, name: &str) -> io::Result<u32> {
        self.find(TYPEDEF, name).ok_or_else(|| unknown(name))
    }

    /// Bytes from the beginning of struct tcp_sock to the field that carries the tag.
    pub fn tag_offset(&self) -> io::Result<i16> {
        let found = self.find(STRUCT, "tcp_sock").and_then(|id| self.member(id, "notsent_lowat"));
        let fits = found.and_then(|bytes| i16::try_from(bytes).ok());
        fits.ok_or_else(|| unknown("tcp_sock.notsent_lowat"))
    }

    fn find(&self, kind: u32, name: &str) -> Option<u32> {
        let is_it = |id: &u32| {
            let at = self.types[*id as usize];
            let info = word(&self.bytes, at + 4);
            info.is_some_and(|info| info >> 24 & 0x1F == kind) && self.name(at) == name.as_bytes()
        };
        (1..self.types.len() as u32).find(is_it)
    }

    /// Looks into members without a name as well.
    fn member(&self, id: u32, name: &str) -> Option<u32> {
        let at = *self.types.get(id as usize)?;
        let info = word(&self.bytes, at + 4)?;
        if !matches!(info >> 24 & 0x1F, STRUCT | UNION) {
            return None;
        }
        let bits = |offset| if info >> 31 == 1 { offset & 0xFF_FFFF } else { offset };
        for index in 0..(info & 0xFFFF) as usize {
            let member = at + TYPE_BYTES + index * MEMBER_BYTES;
            let offset = bits(word(&self.bytes, member + 8)?) / 8;
            match self.name(member) {
                found if found == name.as_bytes() => return Some(offset),
                b"" => {
                    let within = self.member(word(&self.bytes, member + 4)?, name);
                    if let Some(within) = within {
                        return Some(offset + within);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The name of a type or member: both begin with it.
    fn name(&self, at: usize) -> &[u8] {
        let start = self.strings + word(&self.bytes, at).unwrap_or(0) as usize;
        let text = self.bytes.get(start..).unwrap_or_default();
        text.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// Bytes behind the head of a type, by its kind.
fn rest_bytes(info: u32) -> Option<usize> {
    let count = (info & 0xFFFF) as usize;
    Some(match info >> 24 & 0x1F {
        // Integers, variables and tags.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structs, unions, sections and long enumerations.
        STRUCT | UNION | 15 | 19 => MEMBER_BYTES * count,
        // Enumerations and prototypes.
        6 | 13 => 8 * count,
        // Pointers, forwards, typedefs, qualifiers, functions, floats and type tags.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

fn unknown(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("host: this kernel does not tell {what}"))
}

const PATH: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u32 = 0xEB9F;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_btf_is_refused() {
        assert!(Btf::parse(Vec::new()).is_none());
        assert!(Btf::parse(b"\x7FELF not at all".to_vec()).is_none());
    }

    #[test]
    fn a_cut_off_table_is_refused() {
        // A head that promises one type of twelve bytes, of which four are there.
        let words = [MAGIC, 24, 0, 12, 12, 0, 7];
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert!(Btf::parse(bytes).is_none());
    }
}
