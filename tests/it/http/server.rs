//! The server on a real socket: slow and large requests, HEAD, and an end that loses no request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use waybill::{
    http::server::{Limits, ServeError, serve},
    shutdown::Shutdown,
};

use super::toy;
use crate::support::eventually;

const LIMITS: Limits = Limits {
    max_connections: 64,
    header_timeout: Duration::from_millis(300),
    write_timeout: Duration::from_millis(300),
    drain_timeout: Duration::from_secs(5),
};

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shell = toy::shell(true);
    let shutdown = shell.shutdown.clone();
    let server = TaskTracker::new().spawn({
        let shutdown = shutdown.clone();
        async move { serve(listener, toy::app(shell), limits, &shutdown).await }
    });
    Running { address, shutdown, server }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that the server sends until it closes the connection.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("an end").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let server = start(LIMITS).await;
    let ask = async |method: &str| {
        let answer = server
            .exchange(&format!("{method} /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"))
            .await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find(|line| line.starts_with("content-length")).unwrap().to_owned();
        (length, body.len())
    };
    let ((head_length, head_body), (get_length, get_body)) = (ask("HEAD").await, ask("GET").await);
    assert_eq!(head_length, get_length);
    assert_eq!(head_body, 0);
    assert_eq!(get_length, format!("content-length: {get_body}"));
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let server = start(LIMITS).await;
    let chunk = "x".repeat(200);
    let answer = server
        .exchange(&format!(
            "POST /api/v1/things HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\nc8\r\n{chunk}\r\nc8\r\n{chunk}\r\n0\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("/problems/payload-too-large"));
}

#[tokio::test]
async fn a_large_upload_sees_why_it_is_refused() {
    let server = start(LIMITS).await;
    let body = "x".repeat(20_000_000);
    let answer = server
        .exchange(&format!(
            "POST /api/v1/things HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_within_the_limit_is_taken() {
    let server = start(LIMITS).await;
    let answer = server
        .exchange(
            "POST /api/v1/things HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n19\r\n{\"name\":\"a\",\"size\":12345}\r\n0\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("12345"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_loses_its_connection() {
    let server = start(LIMITS).await;
    let begun = Instant::now();
    let answer = server.exchange("GET /livez HTTP/1.1\r\nhost:").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(begun.elapsed() >= LIMITS.header_timeout && begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_slow_body_is_given_up() {
    let server = start(LIMITS).await;
    let answer = server
        .exchange(
            "POST /api/v1/things HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 100\r\n\r\n{\"name\"",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1") && answer.contains("/problems/unavailable"));
}

/// Larger than what the kernels of both sides keep.
const LARGE: &str = "GET /docs HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let server = start(Limits { max_connections: 1, ..LIMITS }).await;
    let mut deaf = server.connect().await;
    deaf.write_all(LARGE.repeat(20).as_bytes()).await.unwrap();
    let answer = server.exchange("GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let server = start(LIMITS).await;
    let mut slow = server.connect().await;
    slow.write_all(LARGE.repeat(8).as_bytes()).await.unwrap();
    slow.shutdown().await.unwrap();
    let (begun, mut answer) = (Instant::now(), Vec::new());
    let mut part = vec![0; 512 * 1024];
    while let Ok(length @ 1..) = timeout(Duration::from_secs(5), slow.read(&mut part)).await.unwrap() {
        answer.extend_from_slice(part.get(..length).unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > LIMITS.write_timeout, "the test must be slow");
    let answers = String::from_utf8(answer).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 8);
    assert!(answers.trim_end().ends_with("</html>"));
}

#[tokio::test]
async fn a_client_that_closes_its_side_gets_its_answer() {
    let server = start(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /api/v1/slow?millis=200 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
}

#[tokio::test]
async fn a_broken_connection_gives_its_request_up() {
    let server = start(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /api/v1/slow?millis=450 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Reset instead of closed.
    stream.set_zero_linger().unwrap();
    drop(stream);
    let line = r#"waybill_http_requests_total{method="GET",operation="slow",status="499"} 1"#;
    let metrics = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    eventually("a request that was given up", async || {
        server.exchange(metrics).await.contains(line).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let server = start(LIMITS).await;
    for headers in [
        "",
        "host: a\r\nhost: b\r\n",
        "host: a\r\nhost: a\r\n",
        "host:\r\n",
        "host: a b\r\n",
        "host: user@a\r\n",
        "host: a/b\r\n",
        "host: a:b\r\n",
        "host: a\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n",
        "host: a\r\nidempotency-key: a\r\nidempotency-key: b\r\n",
        "host: a\r\ncontent-type: application/json\r\ncontent-type: text/plain\r\n",
    ] {
        let answer =
            server.exchange(&format!("GET /version HTTP/1.1\r\nconnection: close\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers}{answer}");
        assert!(answer.contains("/problems/invalid-request"), "{headers}{answer}");
    }
    let lengths = "GET /version HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx";
    assert!(server.exchange(lengths).await.starts_with("HTTP/1.1 400 "));
    for good in [
        "GET /version HTTP/1.0\r\n\r\n",
        "GET http://a.test/version HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n",
        "GET /version HTTP/1.1\r\nhost: [::1]:3000\r\nconnection: close\r\n\r\n",
    ] {
        let answer = server.exchange(good).await;
        assert!(answer.contains(" 200 "), "{good}{answer}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let server = start(Limits { max_connections: 1, ..LIMITS }).await;
    let mut first = server.connect().await;
    let request = "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    tokio::time::sleep(Duration::from_millis(50)).await;
    let second = server.exchange(request);
    tokio::pin!(second);
    assert!(timeout(Duration::from_millis(100), &mut second).await.is_err(), "it must wait");
    first.write_all(request.as_bytes()).await.unwrap();
    assert!(read_all(&mut first).await.starts_with("HTTP/1.1 200"));
    assert!(second.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_under_load_loses_no_request() {
    // Idle connections must outlast a pause of a busy machine.
    let server = start(Limits { header_timeout: Duration::from_mins(1), ..LIMITS }).await;
    let answered = Arc::new(AtomicU32::new(0));
    let tasks = TaskTracker::new();
    let clients: Vec<_> =
        (0..16).map(|_| tasks.spawn(keep_asking(server.address, Arc::clone(&answered)))).collect();
    while answered.load(Ordering::Relaxed) < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.shutdown.begin(Duration::ZERO).await;
    server.server.await.unwrap().unwrap();
    for client in clients {
        timeout(Duration::from_secs(5), client).await.unwrap().unwrap();
    }
}

/// Sends one request after another on kept-alive connections until the server takes no new connection. Any
/// request that was sent must be answered.
async fn keep_asking(address: SocketAddr, answered: Arc<AtomicU32>) {
    while let Ok(mut stream) = TcpStream::connect(address).await {
        loop {
            let request = "GET /api/v1/slow?millis=2 HTTP/1.1\r\nhost: a\r\n\r\n";
            let sent = stream.write_all(request.as_bytes()).await;
            let mut answer = vec![0; 4096];
            let read = timeout(Duration::from_secs(5), stream.read(&mut answer)).await.expect("an answer");
            let (Ok(()), Ok(length @ 1..)) = (sent, read) else { panic!("a request was lost") };
            let answer = String::from_utf8_lossy(answer.get(..length).unwrap()).to_lowercase();
            assert!(answer.starts_with("http/1.1 200"), "{answer}");
            answered.fetch_add(1, Ordering::Relaxed);
            if answer.contains("connection: close") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_an_idle_connection_closed() {
    let server = start(Limits { header_timeout: Duration::from_mins(1), ..LIMITS }).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut slow = server.connect().await;
    slow.write_all(b"GET /api/v1/slow?millis=400 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.begin(Duration::ZERO).await;
    let (idle, slow) = tokio::join!(read_all(&mut idle), read_all(&mut slow));
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    assert!(slow.starts_with("HTTP/1.1 200") && slow.contains("connection: close"), "{slow}");
    server.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_on_its_way_to_an_idle_connection_is_answered() {
    let server = start(LIMITS).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    server.shutdown.begin(Duration::ZERO).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    server.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_the_kernel_accepted_before_the_end_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shell = toy::shell(true);
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        stream.write_all(b"GET /version HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    shell.shutdown.begin(Duration::ZERO).await;
    let shutdown = shell.shutdown.clone();
    serve(listener, toy::app(shell), LIMITS, &shutdown).await.unwrap();
    for mut stream in streams {
        assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn requests_that_do_not_end_are_given_up() {
    let server = start(Limits { drain_timeout: Duration::from_millis(50), ..LIMITS }).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /api/v1/slow?millis=450 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = Instant::now();
    server.shutdown.begin(Duration::ZERO).await;
    server.server.await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(300));
    assert_eq!(read_all(&mut slow).await, "", "a request that was given up is dropped");
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let server = start(LIMITS).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /api/v1/slow?millis=450 HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.begin(Duration::ZERO).await;
    server.shutdown.abort();
    assert!(matches!(server.server.await.unwrap(), Err(ServeError::Aborted(1))));
}
