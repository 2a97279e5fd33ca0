//! As much HTTP as a scraper speaks: one request of bounded size within bounded time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Reads one request, answers it, closes.
pub fn answer(mut stream: &TcpStream, metrics: impl FnOnce() -> String) -> io::Result<()> {
    stream.set_write_timeout(Some(TIMEOUT))?;
    let (status, kind, body) = match request(stream)?.as_deref() {
        Some("/metrics") => ("200 OK", METRICS_TYPE, metrics()),
        Some("/") => ("200 OK", TEXT_TYPE, "torpor: /metrics\n".to_owned()),
        Some(_) => ("404 Not Found", TEXT_TYPE, "try /metrics\n".to_owned()),
        None => ("400 Bad Request", TEXT_TYPE, "GET /metrics, please\n".to_owned()),
    };
    let count = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {count}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The path of a GET; `None` for anything else.
fn request(mut stream: &TcpStream) -> io::Result<Option<String>> {
    let until = Instant::now() + TIMEOUT;
    let mut bytes = [0; REQUEST_BYTES_MAX];
    let mut count = 0;
    while count < bytes.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = stream.read(&mut bytes[count..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count += read;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&bytes[..count]) {
            Ok(httparse::Status::Complete(_)) if parsed.method == Some("GET") => {
                let path = parsed.path.unwrap_or("/");
                return Ok(path.split('?').next().map(str::to_owned));
            }
            Ok(httparse::Status::Partial) => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

const TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_BYTES_MAX: usize = 8192;
const HEADERS_MAX: usize = 64;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ask(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("there");
        let (stream, _) = listener.accept().expect("connected");
        client.write_all(request).expect("sent");
        client.shutdown(std::net::Shutdown::Write).expect("open");
        let _ = answer(&stream, || "values\n".to_owned());
        drop(stream);
        let mut text = String::new();
        // Unread bytes turn the end into a reset.
        let _ = client.read_to_string(&mut text);
        text
    }

    #[test]
    fn scrapers_get_the_values_and_others_get_told() {
        let text = ask(b"GET /metrics?x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nvalues\n"));
        assert!(ask(b"GET /x HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(b"POST /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400"));
        assert!(ask(b"\x16\x03\x01\x02\x00\x01").starts_with("HTTP/1.1 400"));
        assert_eq!(ask(b"GET /metrics HTTP/1.1\r\nHost"), "", "it hung up");
    }

    #[test]
    fn a_request_without_end_is_refused() {
        let mut long = b"GET /metrics HTTP/1.1\r\nA: ".to_vec();
        long.resize(REQUEST_BYTES_MAX, b'a');
        assert!(ask(&long).starts_with("HTTP/1.1 400"));
        let many = b"GET / HTTP/1.1\r\n".iter().copied();
        let many: Vec<u8> = many.chain(b"A: b\r\n".repeat(HEADERS_MAX + 1)).collect();
        assert!(ask(&many).starts_with("HTTP/1.1 400"));
    }
}
