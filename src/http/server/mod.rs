//! Serves an endpoint over HTTP/1.1 with bounds on what a client can cost, and ends without losing a request.
//!
//! When it stops, it first takes what the kernel has accepted already, then gives requests on their way a moment
//! to arrive, and only then tells idle connections to close. Every response since the drain began asks its
//! client to open a new connection elsewhere.
//!
//! A client that closes its side after its request gets its answer. Whether it has gone shows only when the answer is
//! written or the connection breaks, so that requests go on until then; whoever waits on purpose asks [`Peer::closed`].

mod stream;

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use poem::{
    Endpoint, Request, Response,
    http::{HeaderValue, header, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::stream::Stream;
use crate::{http::peer::Peer, shutdown::Shutdown};

/// The pause after an accept that failed, as when file descriptors have run out.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long the server goes on to accept once it stops, for what has reached the kernel before.
const BACKLOG_GRACE: Duration = Duration::from_millis(50);

/// How long a request may be on its way when the server stops.
const LINGER: Duration = Duration::from_millis(400);

const MAX_HEADER_BYTES: usize = 32 * 1024;

/// What clients may cost, and how long their last requests may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many connections are open at once; others wait in the kernel.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, which is also how long a connection may idle.
    pub header_timeout: Duration,
    /// How long a client may leave its answer unread before its connection ends.
    pub write_timeout: Duration,
    /// How long the requests in flight may take once the server stops.
    pub drain_timeout: Duration,
}

/// Why the server ended otherwise than in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A second signal came while requests were in flight.
    #[error("stopped at once while {0} connections were open")]
    Aborted(usize),
}

/// Serves until `shutdown` stops it and the last request is answered or given up.
pub async fn serve<E>(
    listener: TcpListener,
    endpoint: E,
    limits: Limits,
    shutdown: &Shutdown,
) -> Result<(), ServeError>
where
    E: Endpoint + 'static,
{
    let given_up = CancellationToken::new();
    // However this ends, no connection outlives it.
    let _guard = given_up.clone().drop_guard();
    let server = Server {
        endpoint: Arc::new(endpoint),
        limits,
        given_up,
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
        permits: Arc::new(Semaphore::new(limits.max_connections)),
    };
    let connections = GracefulShutdown::new();
    tokio::select! {
        biased;
        () = shutdown.stopping() => {}
        () = server.accept_forever(&listener, &connections) => {}
    }
    // Clients believe what the kernel has accepted to be open; dropped, their requests would be reset.
    tokio::select! {
        // Also those that came while this process was not given the processor.
        biased;
        () = server.accept_forever(&listener, &connections) => {}
        () = tokio::time::sleep(BACKLOG_GRACE) => {}
        () = shutdown.aborted() => {}
    }
    drop(listener);
    drain(connections, limits.drain_timeout, shutdown).await
}

async fn drain(
    connections: GracefulShutdown,
    timeout: Duration,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let deadline = tokio::time::Instant::now() + timeout;
    if connections.count() > 0 {
        tokio::select! {
            () = tokio::time::sleep(LINGER.min(timeout)) => {}
            () = shutdown.aborted() => {}
        }
    }
    // The count is taken now, because waiting consumes what counts.
    let open = connections.count();
    tokio::select! {
        biased;
        () = connections.shutdown() => Ok(()),
        () = shutdown.aborted() => Err(ServeError::Aborted(open)),
        () = tokio::time::sleep_until(deadline) => {
            tracing::warn!(open, "gave up on requests that did not end in time");
            Ok(())
        }
    }
}

struct Server<E> {
    endpoint: Arc<E>,
    limits: Limits,
    given_up: CancellationToken,
    tasks: TaskTracker,
    shutdown: Shutdown,
    permits: Arc<Semaphore>,
}

impl<E: Endpoint + 'static> Server<E> {
    async fn accept_forever(&self, listener: &TcpListener, connections: &GracefulShutdown) {
        // The semaphore is never closed, so that this ends only by being dropped.
        while let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => self.spawn(stream, peer.into(), permit, connections.watcher()),
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: poem::Addr, permit: OwnedSemaphorePermit, watcher: Watcher) {
        // This fails only if the client has gone already, which the connection will notice.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off delayed sending");
        }
        let local = LocalAddr(stream.local_addr().map(Into::into).unwrap_or_default());
        let (endpoint, shutdown) = (Arc::clone(&self.endpoint), self.shutdown.clone());
        let (read, write) = stream.into_split();
        let write = Arc::new(write);
        let client = Peer::of(Arc::clone(&write));
        let asking = client.clone();
        let stream = Stream::new(read, write, self.limits.write_timeout);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = Request::from((request, local.clone(), RemoteAddr(peer.clone()), Scheme::HTTP));
            request.set_data(asking.clone());
            let (endpoint, shutdown) = (Arc::clone(&endpoint), shutdown.clone());
            async move {
                let mut response: Response = endpoint.get_response(request).await;
                if shutdown.is_draining() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(hyper::Response::from(response))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_header_size(MAX_HEADER_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let connection = watcher.watch(connection);
        let given_up = self.given_up.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                result = connection => {
                    if let Err(error) = result {
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
                () = client.broken() => {}
                () = given_up.cancelled() => {}
            }
            drop(permit);
        });
    }
}

/// Errors of the one connection that was about to be accepted; the listener is well.
fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
