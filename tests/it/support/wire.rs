//! A proxy between the server and PostgreSQL that reads along: which statements are prepared, and how often the server
//! waits for an answer. It can cut or hold up a connection at any of these moments.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use url::Url;

/// The first number of a startup message that begins a session; others ask for encryption or cancel something.
const PROTOCOL_3: [u8; 2] = [0, 3];

/// What has gone by.
#[derive(Debug, Default)]
struct Seen {
    round_trips: usize,
    statements: Vec<String>,
    cut: Option<(usize, Cut)>,
}

/// How long a question is held up.
pub const STALL: Duration = Duration::from_millis(150);

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It ends before the question reaches the database.
    Question,
    /// It ends before the answer reaches the server.
    Answer,
    /// The question reaches the database [`STALL`] later.
    Stall,
}

impl Seen {
    /// The server has asked something; tells whether its connection is to be cut now.
    fn ask(&mut self) -> Option<Cut> {
        self.round_trips += 1;
        let (left, cut) = self.cut?;
        self.cut = (left > 1).then_some((left - 1, cut));
        (left <= 1).then_some(cut)
    }
}

/// A running proxy; it ends when this is dropped.
#[derive(Debug)]
pub struct Wire {
    /// Where the database is, through the proxy.
    pub url: String,
    seen: Arc<Mutex<Seen>>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    /// Starts a proxy in front of the database with this URL.
    pub async fn tap(database_url: &str) -> Self {
        let mut url = Url::parse(database_url).unwrap();
        let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let seen = Arc::<Mutex<Seen>>::default();
        let accept = accept(listener, upstream, Arc::clone(&seen));
        Self { url: url.into(), seen, _task: AbortOnDropHandle::new(TaskTracker::new().spawn(accept)) }
    }

    /// How many round trips there were since the last time this was asked.
    pub fn round_trips(&self) -> usize {
        std::mem::take(&mut self.lock().round_trips)
    }

    /// The texts of the statements that were prepared since the last time this was asked.
    pub fn statements(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().statements)
    }

    /// Cuts a connection at the `nth` question from now, once.
    pub fn cut(&self, nth: usize, cut: Cut) {
        self.lock().cut = Some((nth, cut));
    }

    /// Cuts nothing from now on; tells whether a cut was left to be made.
    pub fn mend(&self) -> bool {
        self.lock().cut.take().is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, upstream: String, seen: Arc<Mutex<Seen>>) {
    let sessions = TaskTracker::new();
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(&upstream).await.unwrap();
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = server.into_split();
        let (seen, cut) = (Arc::clone(&seen), CancellationToken::new());
        let silenced = cut.clone();
        sessions.spawn(async move {
            tokio::select! {
                biased;
                () = silenced.cancelled() => {}
                _ = copy(&mut from_server, &mut to_client) => {}
            }
            drop(to_client);
            // The database may still be busy with the last question, and then its answer must find somebody.
            drop(copy(&mut from_server, &mut tokio::io::sink()).await);
        });
        sessions.spawn(async move { read_along(from_client, to_server, &seen, &cut).await });
    }
}

/// Passes on whatever the client sends, and looks at each message once it is complete.
async fn read_along(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    seen: &Mutex<Seen>,
    silenced: &CancellationToken,
) {
    let (mut buffer, mut open, mut asked) = (Vec::new(), false, false);
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        buffer.extend_from_slice(&chunk[..length]);
        let mut cut = None;
        while let Some(message) = next_message(&mut buffer, open) {
            match message[0] {
                _ if !open => open = message[4..6] == PROTOCOL_3,
                b'Q' => cut = cut.or(seen.lock().unwrap().ask()),
                // A Sync without an Execute before it asks for no rows: the pool looks after a connection, or a connection
                // prepares a statement that it has not seen yet.
                b'S' if std::mem::take(&mut asked) => cut = cut.or(seen.lock().unwrap().ask()),
                b'P' => seen.lock().unwrap().statements.push(statement(&message)),
                b'E' => asked = true,
                _ => {}
            }
        }
        match cut {
            Some(Cut::Question) => return silenced.cancel(),
            Some(Cut::Answer) => silenced.cancel(),
            Some(Cut::Stall) => tokio::time::sleep(STALL).await,
            None => {}
        }
        if to.write_all(&chunk[..length]).await.is_err() || cut == Some(Cut::Answer) {
            return;
        }
    }
}

/// Takes the first message from the buffer once it is there as a whole. Before the session is open, it has no type.
fn next_message(buffer: &mut Vec<u8>, open: bool) -> Option<Vec<u8>> {
    let start = usize::from(open);
    let length = buffer.get(start..start + 4)?;
    let end = start + usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
    (buffer.len() >= end).then(|| buffer.drain(..end).collect())
}

/// The text in a Parse message, which follows the statement's name.
fn statement(message: &[u8]) -> String {
    let text = message[5..].split(|byte| *byte == 0).nth(1).unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
