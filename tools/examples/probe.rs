use std::time::Duration;
use torpor::dovecot::*;
fn main() {
    for v in [Version::V23, Version::V24] {
        let d = Dovecot::start(&Options { hibernate_timeout_secs: 0, ..Options::new(v) }).unwrap();
        let mut c = Client::login(d.endpoint(false), "u00001", "pw").unwrap();
        let mut bad = String::new();
        for b in 0x21u8..0x7f {
            c.send(&[b"x", &[b][..], b"y NOOP\r\n"].concat()).unwrap();
            let l = c.line(Duration::from_secs(2)).unwrap().unwrap();
            if !l.starts_with('x') {
                bad.push(b as char);
            }
        }
        println!("{v:?} invalid inside: {bad}");
        let mut c = Client::login(d.endpoint(false), "u00001", "pw").unwrap();
        let mut bad = String::new();
        for b in 0x21u8..0x7f {
            c.send(&[&[b][..], b" NOOP\r\n"].concat()).unwrap();
            let l = c.line(Duration::from_secs(2)).unwrap().unwrap();
            if !l.starts_with(b as char) || l.starts_with("* BAD") || l.starts_with("+ ") {
                bad.push(b as char);
            }
        }
        println!("{v:?} invalid alone: {bad}");
        for n in [127, 128, 129, 200, 1000, 5000] {
            let t = "T".repeat(n);
            c.send(format!("{t} NOOP\r\n").as_bytes()).unwrap();
            let l = c.line(Duration::from_secs(2)).unwrap().unwrap();
            println!("{n} {}", &l[..20]);
        }
        // Tags with IDLE
        for t in ["b", "T", "}", "a]"] {
            c.send(format!("{t} IDLE\r\nDONE\r\n").as_bytes()).unwrap();
            println!("{t} {:?}", c.drain(Duration::from_millis(200)).unwrap());
        }
    }
}
