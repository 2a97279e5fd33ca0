//! What the fuzzer calls. Each target takes any bytes and panics when something does not hold.

mod idle_input;
mod lab;
mod master_reply;
mod notify_bytes;
mod plan;
mod record_image;
mod wire_line;
mod wire_stream;

/// One target by its name; its corpus and dictionary are named alike.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

pub const TARGETS: [Target; 6] = [
    Target { name: "idle_input", run: idle_input::run },
    Target { name: "master_reply", run: master_reply::run },
    Target { name: "notify_bytes", run: notify_bytes::run },
    Target { name: "record_image", run: record_image::run },
    Target { name: "wire_line", run: wire_line::run },
    Target { name: "wire_stream", run: wire_stream::run },
];
