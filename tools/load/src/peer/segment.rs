//! One TCP segment over IPv4, out of a packet and into one. The bytes are etherparse's concern.

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::TcpOptionElement::{
    MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale,
};
use etherparse::{IpNumber, Ipv4Slice, PacketBuilder, TcpSlice};

/// What a segment does besides carrying bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Nothing: it acknowledges.
    Ack,
    Fin,
    Reset,
    /// The first of a connection; it alone acknowledges nothing.
    Syn,
}

/// A segment from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    pub flag: Flag,
    pub sequence: u32,
    pub acknowledges: u32,
    /// The server's timestamp that it echoes (RFC 7323, section 3.2).
    pub echo: u32,
    pub payload: &'a [u8],
}

/// A segment to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'a> {
    pub to: SocketAddrV4,
    pub sequence: u32,
    pub acknowledges: u32,
    pub syn: bool,
    pub fin: bool,
    pub reset: bool,
    pub timestamp: Option<u32>,
    pub payload: &'a [u8],
}

impl<'a> Heard<'a> {
    /// Reads a packet; `None` when it is no TCP over IPv4, which the kernel also sends into a
    /// new device.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let ip = Ipv4Slice::from_slice(packet).ok()?;
        if ip.payload_ip_number() != IpNumber::TCP {
            return None;
        }
        let address = Ipv4Addr::from(ip.header().destination());
        let tcp = TcpSlice::from_slice(ip.payload().payload).ok()?;
        let timestamp = tcp.options_iterator().flatten().find_map(|option| match option {
            Timestamp(value, _) => Some(value),
            _ => None,
        });
        Some(Self {
            to: SocketAddrV4::new(address, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledges: tcp.acknowledgment_number(),
            syn: tcp.syn(),
            fin: tcp.fin(),
            reset: tcp.rst(),
            timestamp,
            payload: tcp.payload(),
        })
    }
}

impl Segment<'_> {
    /// Writes the packet into `buffer`, which is emptied first. `clock_ms` is the timestamp.
    pub fn write(&self, buffer: &mut Vec<u8>, from: SocketAddrV4, to: SocketAddrV4, clock_ms: u32) {
        let ip = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), HOPS);
        let window = if self.flag == Flag::Syn { SYN_WINDOW } else { SCALED_WINDOW };
        let tcp = ip.tcp(from.port(), to.port(), self.sequence, window);
        let stamp = Timestamp(clock_ms, self.echo);
        let tcp = match self.flag {
            Flag::Syn => tcp.syn().options(&[
                MaximumSegmentSize(SEGMENT_BYTES_MAX),
                SelectiveAcknowledgementPermitted,
                stamp,
                Noop,
                WindowScale(WINDOW_SHIFT),
            ]),
            _ => tcp.ack(self.acknowledges).options(&[Noop, Noop, stamp]),
        };
        let tcp = tcp.expect("at most 20 bytes of options");
        let tcp = match self.flag {
            Flag::Ack | Flag::Syn if self.payload.is_empty() => tcp,
            Flag::Ack | Flag::Syn => tcp.psh(),
            Flag::Fin => tcp.fin(),
            Flag::Reset => tcp.rst(),
        };
        buffer.clear();
        tcp.write(buffer, self.payload).expect("a short payload, into memory");
    }
}

const HOPS: u8 = 64;
/// Of a phone on a mobile network.
const SEGMENT_BYTES_MAX: u16 = 1400;
const SYN_WINDOW: u16 = 65_535;
const WINDOW_SHIFT: u8 = 7;
/// 263,424 bytes once it is shifted.
const SCALED_WINDOW: u16 = 2058;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(segment: &Segment<'_>) -> Vec<u8> {
        let place = |last, port| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), port);
        let mut packet = Vec::new();
        segment.write(&mut packet, place(7, 40_000), place(1, 143), 55);
        packet
    }

    #[test]
    fn what_is_written_is_read_back_with_true_checksums() {
        let payload = b"DONE\r\n";
        let said = Segment { flag: Flag::Ack, sequence: 9, acknowledges: 8, echo: 3, payload };
        let packet = packet(&said);
        let heard = Heard::parse(&packet).expect("it is TCP");
        assert_eq!(heard.to, "10.0.0.1:143".parse().expect("an address"));
        assert_eq!((heard.sequence, heard.acknowledges, heard.timestamp), (9, 8, Some(55)));
        assert_eq!(
            (heard.payload, heard.syn, heard.fin, heard.reset),
            (&payload[..], false, false, false)
        );
        let ip = Ipv4Slice::from_slice(&packet).expect("IPv4");
        let tcp = TcpSlice::from_slice(ip.payload().payload).expect("TCP");
        let (from, to) = (ip.header().source(), ip.header().destination());
        assert_eq!(tcp.calc_checksum_ipv4(from, to).expect("short"), tcp.checksum());
    }

    #[test]
    fn a_syn_offers_what_a_phone_offers() {
        let syn = Segment { flag: Flag::Syn, sequence: 9, acknowledges: 0, echo: 0, payload: b"" };
        let packet = packet(&syn);
        let ip = Ipv4Slice::from_slice(&packet).expect("IPv4");
        let tcp = TcpSlice::from_slice(ip.payload().payload).expect("TCP");
        let options: Vec<_> = tcp.options_iterator().flatten().collect();
        assert!(tcp.syn() && !tcp.ack());
        for wanted in [MaximumSegmentSize(1400), SelectiveAcknowledgementPermitted, WindowScale(7)]
        {
            assert!(options.contains(&wanted), "{options:?}");
        }
    }

    #[test]
    fn what_is_no_tcp_is_passed_over() {
        let mut packet = packet(&Segment {
            flag: Flag::Fin,
            sequence: 1,
            acknowledges: 1,
            echo: 0,
            payload: b"",
        });
        assert!(Heard::parse(&packet).expect("it is TCP").fin);
        assert_eq!(Heard::parse(&packet[..39]), None, "cut");
        packet[9] = 17;
        assert_eq!(Heard::parse(&packet), None, "UDP");
        packet[0] = 0x60;
        assert_eq!(Heard::parse(&packet), None, "IPv6");
    }
}
