//! The other side of the browser on this machine: a port of the loopback at which it hands over a code (RFC 8252 §7.3).

use std::{
    io,
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Url;
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{super::error::Error, random};

/// The longest request that is read, in bytes.
const REQUEST_MAX: usize = 16 * 1024;
/// How long a browser may take to send its request.
const PATIENCE: Duration = Duration::from_secs(5);

const DONE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
                    <title>Signed in \u{b7} Waybill</title><h1>The command line is let in</h1>\
                    <p>It goes on by itself; you can close this page.</p></html>";

/// Waits for the browser.
pub struct Waiting {
    listener: TcpListener,
    /// Where.
    pub port: u16,
    /// By what the answer is told from any other page's request.
    pub state: String,
}

impl Waiting {
    pub async fn listen() -> Result<Self, Error> {
        let cannot =
            |error: io::Error| Error::Failed(format!("cannot listen on 127.0.0.1: {error}; use --device"));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(cannot)?;
        let port = listener.local_addr().map_err(cannot)?.port();
        Ok(Self { listener, port, state: random()? })
    }

    /// The code that the browser hands over.
    pub async fn code(&self) -> Result<SecretString, Error> {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else { continue };
            let Ok(Ok(target)) = tokio::time::timeout(PATIENCE, target(&mut stream)).await else { continue };
            let code = code_in(&target, &self.state);
            let (status, body) = if code.is_some() { ("200 OK", DONE) } else { ("404 Not Found", "") };
            // Whether anybody reads it changes nothing.
            stream.write_all(answer(status, body).as_bytes()).await.ok();
            stream.shutdown().await.ok();
            if let Some(code) = code {
                return Ok(code);
            }
        }
    }
}

/// What a request asks for: the second word of its first line, once its head is whole.
async fn target(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() > REQUEST_MAX || stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    let target = words.next().filter(|method| *method == "GET").and_then(|_| words.next());
    target.map(ToOwned::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn code_in(target: &str, state: &str) -> Option<SecretString> {
    let url = Url::parse("http://127.0.0.1").ok()?.join(target).ok()?;
    let field =
        |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    (url.path() == "/" && field("state")? == state).then(|| field("code"))?.map(SecretString::from)
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Opens a page, if there is a browser that can be told to. The page was said already, so that nothing is lost if not.
pub fn open(page: &Url) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let command = Command::new(program)
        .arg(page.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(command);
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn only_the_answer_to_its_own_question_is_taken() {
        let code = |target| code_in(target, "mine").map(|code| code.expose_secret().to_owned());
        assert_eq!(code("/?code=abc&state=mine").as_deref(), Some("abc"));
        for target in
            ["/", "/?code=abc", "/?code=abc&state=other", "/favicon.ico?code=abc&state=mine", "/?state=mine"]
        {
            assert_eq!(code(target), None, "{target}");
        }
    }

    #[tokio::test]
    async fn the_browser_is_answered_and_the_code_is_handed_over() {
        let waiting = Waiting::listen().await.unwrap();
        let address = ("127.0.0.1", waiting.port);
        let request = format!("GET /?code=abc&state={} HTTP/1.1\r\nhost: x\r\n\r\n", waiting.state);
        let browser = async {
            for request in ["nonsense\r\n\r\n", "GET /?code=evil&state=x HTTP/1.1\r\n\r\n", request.as_str()]
            {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                if request.contains("abc") {
                    assert!(answer.contains("200 OK") && answer.contains("let in"), "{answer}");
                }
            }
        };
        let (code, ()) = tokio::join!(waiting.code(), browser);
        assert_eq!(code.unwrap().expose_secret(), "abc");
    }
}
