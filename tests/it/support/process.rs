//! The real binary as a process of its own: started, asked over HTTP, stopped and killed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{db::TestDb, eventually, secrets};

/// The admin token of every server here.
pub const TOKEN: &str = "test-bootstrap-token-0123456789abcdef";

/// A running `waybill serve`; it is killed when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    /// Where it answers.
    pub url: String,
    /// Its admin token.
    pub token: String,
    child: Child,
    directory: TempDir,
}

impl ServerProcess {
    /// Starts a server on `db` and waits until it is ready.
    pub async fn start(db: &TestDb) -> Self {
        Self::start_with(db, &[]).await
    }

    /// The same, with more variables in its environment.
    pub async fn start_with(db: &TestDb, env: &[(&str, &str)]) -> Self {
        Self::start_by(&[], db, env).await
    }

    /// The same, started by another command, which ends by running what follows it.
    pub async fn start_by(starter: &[&str], db: &TestDb, env: &[(&str, &str)]) -> Self {
        // Another process may take the port between our look and the server's; then the server ends before it is ready.
        for _ in 0..3 {
            let mut server = Self::spawn_by(starter, db, env);
            if server.is_ready().await {
                return server;
            }
            let said = server.stderr();
            assert!(said.contains("in use"), "the server ended before it was ready:\n{said}");
        }
        panic!("the server found no free port");
    }

    /// Starts a server, and does not wait.
    pub fn spawn(db: &TestDb, env: &[(&str, &str)]) -> Self {
        Self::spawn_by(&[], db, env)
    }

    fn spawn_by(starter: &[&str], db: &TestDb, env: &[(&str, &str)]) -> Self {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Self::spawn_at(port, starter, db, env)
    }

    fn spawn_at(port: u16, starter: &[&str], db: &TestDb, env: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let mut line = starter.to_vec();
        line.extend([env!("CARGO_BIN_EXE_waybill"), "serve"]);
        let child = sandboxed(line[0], &directory)
            .args(&line[1..])
            .env("WAYBILL__SERVER__LISTEN", format!("127.0.0.1:{port}"))
            .env("WAYBILL__DATABASE__URL", &db.url)
            .env("WAYBILL__AUTH__BOOTSTRAP_TOKEN", TOKEN)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { url: format!("http://127.0.0.1:{port}"), token: TOKEN.to_owned(), child, directory }
    }

    /// Starts it anew where it was, after its end, and waits until it is ready.
    pub async fn start_again(&mut self, db: &TestDb, env: &[(&str, &str)]) {
        let (_, port) = self.url.rsplit_once(':').unwrap();
        *self = Self::spawn_at(port.parse().unwrap(), &[], db, env);
        assert!(self.is_ready().await, "{}", self.stderr());
    }

    /// A client that sends the admin token.
    pub fn client(&self) -> Client {
        Self::client_of(&self.token)
    }

    /// A client that sends this token.
    pub fn client_of(token: &str) -> Client {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        client(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
    }

    /// The full URL of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap()
    }

    /// What it counts, by hand: nothing can be awaited at its end. Nothing where it does not answer.
    fn metrics(&self) -> Vec<u8> {
        let mut told = Vec::new();
        if let Ok(mut stream) = TcpStream::connect(self.url.trim_start_matches("http://")) {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok();
            stream.read_to_end(&mut told).ok();
        }
        told
    }

    /// Which process it is.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Asks it to stop (SIGTERM), and does not wait.
    pub fn ask_to_stop(&self) {
        kill_process(self.pid(), Signal::TERM).unwrap();
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.wait().await
    }

    /// Waits until it has ended by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        eventually("the end of the server", async || self.child.try_wait().unwrap()).await
    }

    /// Ends it on the spot (SIGKILL), as a crash of the machine would.
    pub fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// False when it ended instead.
    async fn is_ready(&mut self) -> bool {
        let (client, url) = (client(HeaderMap::new()), self.at("/readyz"));
        eventually("readiness of the server", async || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let answer = client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(true)
        })
        .await
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            secrets::look_at("the metrics", &self.metrics());
        }
        // It may have ended already, and then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- standard error of {}\n{}", self.url, self.stderr());
        }
        self.stderr().lines().for_each(|line| secrets::look_at("the log", line.as_bytes()));
        secrets::assert_none();
    }
}

/// The binary, in a directory of its own and with nothing of this process's environment but where programs and
/// certificates are.
pub fn command(directory: &TempDir) -> Command {
    sandboxed(env!("CARGO_BIN_EXE_waybill"), directory)
}

/// The same of any program.
pub fn sandboxed(program: &str, directory: &TempDir) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory.path()).env_clear();
    command.env("HOME", directory.path()).env("XDG_STATE_HOME", directory.path().join("state"));
    for name in ["PATH", "SSL_CERT_FILE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

fn client(headers: HeaderMap) -> Client {
    // An error says that a provider is installed already, as by a server in this process that asks an issuer.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().default_headers(headers).no_proxy().build().unwrap()
}
