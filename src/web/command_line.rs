//! `/login/device` and `/login/cli`: where somebody who has signed in lets a command line in, by a code that they type, or on
//! their own machine.

use askama::Template;
use poem::{Request, Response, Result, http::StatusCode};

use super::{
    address::address,
    form::Form,
    page::{Frame, Message, Visitor, app, leading, page, see, to_login},
};
use crate::{
    api::view::refuse,
    domain::sign_in::code::UserCode,
    http::problem::{Code, Problem},
    usecase::{
        error::Error,
        sign_in::command_line::{self, Asking},
    },
};

#[derive(Template)]
#[template(path = "device.html")]
struct Device {
    frame: Frame,
    said: Option<String>,
    who: String,
    code: String,
    /// Where the command line runs; none before the code is known.
    client: Option<String>,
    csrf: String,
}

impl Device {
    fn of(app: &crate::usecase::app::App, visitor: &Visitor) -> Self {
        let frame = Frame::of(app, Some(visitor));
        let (who, csrf) = (visitor.name(), visitor.csrf());
        Self { frame, said: None, who, code: String::new(), client: None, csrf }
    }
}

/// Asks for the code, or says who shows it.
pub async fn show_device(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let query = Form::of_query(&request);
    let device = Device::of(app, &visitor);
    if query.get("code").is_empty() {
        return page(StatusCode::OK, &device);
    }
    let Some(code) = UserCode::parse(query.get("code")) else {
        let said = "This is no such code: it has eight letters, as BCDF-GHJK, without vowels.".to_owned();
        return page(StatusCode::BAD_REQUEST, &Device { said: Some(said), ..device });
    };
    match command_line::asking(app, &code).await {
        Ok(asked) => page(
            StatusCode::OK,
            &Device { client: Some(asked.client), code: code.as_str().to_owned(), ..device },
        ),
        Err(Error::NotFound { .. }) => {
            page(StatusCode::NOT_FOUND, &Device { said: Some(unknown(&code)), ..device })
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

/// Lets in the command line that shows the code.
pub async fn let_device_in(mut request: Request) -> Result<Response> {
    let app = app(&request)?.clone();
    let Some(visitor) = Visitor::of(&app, &request).await? else { return Ok(to_login(&app, &request)) };
    let form = Form::of(&app, &mut request, &visitor).await?;
    let device = Device::of(&app, &visitor);
    let Some(code) = UserCode::parse(form.get("code")) else {
        return Ok(see(&format!("{}/login/device", app.people.site.base())));
    };
    match command_line::let_in(&visitor.ctx, &code).await {
        Ok(()) => {
            let text = vec!["It goes on by itself; you can close this page.".to_owned().into()];
            let frame = Frame::of(&app, Some(&visitor));
            page(
                StatusCode::OK,
                &Message { frame, title: "The command line is let in", text, meant: None, link: None },
            )
        }
        Err(Error::NotFound { .. }) => {
            page(StatusCode::NOT_FOUND, &Device { said: Some(unknown(&code)), ..device })
        }
        Err(error) => Err(Problem::from(error).into()),
    }
}

fn unknown(code: &UserCode) -> String {
    format!(
        "No command line shows the code {}: it was used already, or its ten minutes are over. Run `waybill login --device` again.",
        code.as_str()
    )
}

#[derive(Template)]
#[template(path = "command_line.html")]
struct CommandLine {
    frame: Frame,
    who: String,
    port: u16,
    state: String,
    challenge: String,
    csrf: String,
}

/// What `waybill login` asks with.
struct Local {
    /// The port at which it listens on the machine of the browser.
    port: u16,
    /// By which it knows its own question again.
    state: String,
    asking: Asking,
}

impl Local {
    fn parse(form: &Form) -> Result<Self, Problem> {
        let wrong = || {
            Problem::new(Code::InvalidRequest, "This address was not made by `waybill login`; run it again.")
        };
        let port = form.get("port").parse().ok().filter(|port| *port >= 1024).ok_or_else(wrong)?;
        let state = form.get("state");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=64).contains(&state.len()) || !state.bytes().all(is_plain) {
            return Err(wrong());
        }
        let asking = Asking::parse(form.get("challenge"), "this machine").map_err(refuse)?;
        Ok(Self { port, state: state.to_owned(), asking })
    }
}

/// Asks whether the command line on this machine may act as whoever looks.
pub async fn show(request: Request) -> Result<Response> {
    let app = app(&request)?;
    let local = Local::parse(&Form::of_query(&request))?;
    let Some(visitor) = Visitor::of(app, &request).await? else { return Ok(to_login(app, &request)) };
    let asked = CommandLine {
        who: visitor.name(),
        port: local.port,
        state: local.state,
        challenge: local.asking.challenge,
        csrf: visitor.csrf(),
        frame: Frame::of(app, Some(&visitor)),
    };
    // The answer to the form leads to the command line, which browsers count as part of sending it.
    leading(StatusCode::OK, &asked, &format!(" http://127.0.0.1:{}", local.port))
}

/// Hands a code to the command line on this machine.
pub async fn let_in(mut request: Request) -> Result<Response> {
    let app = app(&request)?.clone();
    let Some(visitor) = Visitor::of(&app, &request).await? else { return Ok(to_login(&app, &request)) };
    let form = Form::of(&app, &mut request, &visitor).await?;
    let local = Local::parse(&form)?;
    let code = command_line::hand_over(&visitor.ctx, &local.asking).await.map_err(Problem::from)?;
    let there = format!("http://127.0.0.1:{}/", local.port);
    Ok(see(&address(&there, [("code", code.as_str()), ("state", &local.state)])))
}
