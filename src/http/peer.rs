//! The client at the other end of a connection: whether it has gone can be asked while nothing is read or written.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::Interest,
    net::{TcpStream, tcp::OwnedWriteHalf},
};

/// The pause between two looks at a client whose next request is in the way of its end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The other end of a connection; found in the data of a request.
#[derive(Debug, Clone)]
pub struct Peer(Arc<OwnedWriteHalf>);

impl Peer {
    /// Whoever reads what is written here.
    pub fn of(stream: Arc<OwnedWriteHalf>) -> Self {
        Self(stream)
    }

    fn stream(&self) -> &TcpStream {
        self.0.as_ref().as_ref()
    }

    /// Resolves when the client has closed its side: it has gone, or it only waits for its answer. No one can tell which
    /// before something is written.
    pub async fn closed(&self) {
        // Data that is there already belongs to the next request.
        while let Ok(1..) = self.stream().peek(&mut [0]).await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Resolves when the connection is broken, as by a client that was killed with an answer on its way.
    pub async fn broken(&self) {
        // An error of the wait itself says as much.
        self.stream().ready(Interest::ERROR).await.ok();
    }
}
