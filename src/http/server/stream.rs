//! The connection to a client as the server uses it: what the client does not read fails to be written after a time.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Instant, Sleep, sleep_until},
};

/// How fast a client must take an answer that does not fit the kernel's buffers, after a first time limit.
const MIN_BYTES_PER_SECOND: u64 = 4096;

/// A client's stream, whose writes fail when the client does not read.
#[derive(Debug)]
pub(super) struct Stream {
    read: OwnedReadHalf,
    write: Arc<OwnedWriteHalf>,
    write_timeout: Duration,
    behind: Option<Behind>,
}

/// A client that has not taken yet what was written.
#[derive(Debug)]
struct Behind {
    since: Instant,
    taken_bytes: u64,
    /// When it is too late: after a time without progress, or with too little of it.
    end: Pin<Box<Sleep>>,
}

impl Stream {
    pub(super) fn new(read: OwnedReadHalf, write: Arc<OwnedWriteHalf>, write_timeout: Duration) -> Self {
        Self { read, write, write_timeout, behind: None }
    }

    fn poll_write_by(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let tcp = self.write.as_ref().as_ref();
            let Poll::Ready(can) = tcp.poll_write_ready(cx) else { return self.poll_too_late(cx) };
            can?;
            match write(tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(written) => {
                    self.put_off(written);
                    return Poll::Ready(Ok(written));
                }
            }
        }
    }

    fn poll_too_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let since = Instant::now();
        let behind = self.behind.get_or_insert_with(|| Behind {
            since,
            taken_bytes: 0,
            end: Box::pin(sleep_until(since + self.write_timeout)),
        });
        behind.end.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn put_off(&mut self, written: usize) {
        let Some(behind) = &mut self.behind else { return };
        behind.taken_bytes = behind.taken_bytes.saturating_add(written as u64);
        let slowest = Duration::from_secs(behind.taken_bytes / MIN_BYTES_PER_SECOND);
        let end = Instant::now().min(behind.since + slowest) + self.write_timeout;
        behind.end.as_mut().reset(end);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |tcp| tcp.try_write(buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |tcp| tcp.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called when all that was written is with the kernel: the client keeps up.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.behind = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(self.read.as_ref(), Shutdown::Write).map_err(Into::into))
    }
}
