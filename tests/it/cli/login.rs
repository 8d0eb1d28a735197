//! `waybill login`, by a browser on the same machine and by a code, and `waybill logout`: the real binary, whose person is played.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, Output, Stdio},
};

use reqwest::{Client, redirect::Policy};
use tempfile::TempDir;

use crate::support::{
    db::TestDb,
    process::{ServerProcess, TOKEN, command},
};

/// A person with a browser who has signed in.
struct Person {
    client: Client,
    url: String,
    cookie: String,
}

impl Person {
    async fn at(server: &ServerProcess) -> Self {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
        let url = server.url.clone();
        let form = client.post(server.at("/login")).header("origin", &url);
        let form = form.header("content-type", "application/x-www-form-urlencoded");
        let answer = form.body(format!("token={TOKEN}")).send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(cookie.starts_with("waybill=wb_") && !cookie.contains("Secure"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { client, url, cookie }
    }

    /// Looks at the page, and agrees; gives where that leads.
    async fn agrees(&self, page: &str) -> Option<String> {
        let text =
            self.client.get(page).header("cookie", &self.cookie).send().await.unwrap().text().await.unwrap();
        let form = text.split("<main").nth(1).unwrap();
        let field = |part: &str, name: &str| {
            Some(part.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned())
        };
        let fields = form.split("<input type=\"hidden\"").skip(1);
        let fields: Vec<_> =
            fields.filter_map(|part| Some((field(part, "name")?, field(part, "value")?))).collect();
        assert!(fields.len() > 1, "{text}");
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let action = page.split('?').next().unwrap();
        let sent = self.client.post(action).header("cookie", &self.cookie).header("origin", &self.url);
        let sent =
            sent.header("content-type", "application/x-www-form-urlencoded").body(body).send().await.unwrap();
        assert!(sent.status().as_u16() < 400, "{}", sent.text().await.unwrap());
        sent.headers().get("location").map(|to| to.to_str().unwrap().to_owned())
    }
}

/// Begins to sign in, and gives the line that says where.
fn begin(folder: &TempDir, server: &ServerProcess, arguments: &[&str]) -> (Child, String) {
    let mut login = command(folder);
    login.arg("login").args(arguments).args(["--url", &server.url]);
    let mut login = login.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(login.stderr.take().unwrap()).lines();
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains("/login/"))).unwrap();
    (login, line)
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    command(folder).args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_on_the_same_machine_lets_the_command_line_in() {
    let (db, folder) = (TestDb::sqlite().await, TempDir::new().unwrap());
    let server = ServerProcess::start(&db).await;
    let person = Person::at(&server).await;
    let (login, line) = begin(&folder, &server, &["--no-browser"]);
    let to = person.agrees(line.trim()).await.unwrap();
    assert!(to.starts_with("http://127.0.0.1:"), "{to}");
    let page = person.client.get(&to).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("is let in"));
    let output = login.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("signed in at"), "{said}");

    let kept = folder.path().join("state/waybill/sessions.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    let secret: serde_json::Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
    let secret = secret["sessions"][0]["token"].as_str().unwrap().to_owned();
    assert!(!said.contains(&secret) && !server.stderr().contains(&secret));
    assert!(!server.stderr().contains(to.split(['=', '&']).nth(1).unwrap()), "nor the code");

    // Without an address: it is the only server that anybody knows of here.
    let listed = run(&folder, &["sessions", "list"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("(this one)") && listed.contains("waybill on this machine"), "{listed}");
    let out = run(&folder, &["logout"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("signed out"), "{out:?}");
    assert!(!fs::read_to_string(&kept).unwrap().contains(&secret));
    assert_eq!(
        ServerProcess::client_of(&secret).get(server.at("/api/v1/services")).send().await.unwrap().status(),
        401
    );
    let denied = run(&folder, &["sessions", "list", "--url", &server.url]);
    assert!(String::from_utf8_lossy(&denied.stderr).contains("waybill login"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_typed_into_any_browser_lets_the_command_line_in() {
    let (db, folder) = (TestDb::sqlite().await, TempDir::new().unwrap());
    let server = ServerProcess::start(&db).await;
    let person = Person::at(&server).await;
    let (login, line) = begin(&folder, &server, &["--device"]);
    let code = line.rsplit(' ').next().unwrap();
    assert_eq!(person.agrees(&server.at(&format!("/login/device?code={code}"))).await, None);
    let output = login.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let listed = run(&folder, &["sessions", "list"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).matches("(this one)").count(), 1, "{listed:?}");
}
