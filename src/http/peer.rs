//! The client at the other end of a connection: whether it has gone can be asked while nothing is read or written.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use poem::web::RemoteAddr;
use tokio::{
    io::Interest,
    net::{TcpStream, tcp::OwnedWriteHalf},
};

/// The pause between two looks at a client whose next request is in the way of its end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// From which network somebody calls, for what one may not take alone: its address, and of IPv6 the first half of that, because
/// whoever has one has all of the other half (RFC 4291 §2.5.4). Behind a proxy it is the proxy's.
pub fn network(RemoteAddr(address): &RemoteAddr) -> String {
    let address = address.as_socket_addr().map(|address| address.ip().to_canonical());
    match address {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
        Some(IpAddr::V4(address)) => address.to_string(),
        None => String::new(),
    }
}

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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn who_has_many_addresses_of_ipv6_is_one_network() {
        let from = |address: &str| {
            let address: SocketAddr = address.parse().unwrap();
            network(&RemoteAddr(address.into()))
        };
        assert_eq!(from("[2001:db8:1:2:3:4:5:6]:1"), from("[2001:db8:1:2::9]:2"));
        assert_ne!(from("[2001:db8:1:2::]:1"), from("[2001:db8:1:3::]:1"));
        assert_eq!(from("[::ffff:192.0.2.1]:1"), from("192.0.2.1:2"));
        assert_ne!(from("192.0.2.1:1"), from("192.0.2.2:1"));
    }
}
