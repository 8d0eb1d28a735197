//! The client's side of the command line: what is asked of a Waybill that runs elsewhere. A command is its arguments, its
//! call and the words for the answer; [`session`] does the rest.

mod access;
mod approvals;
mod approve;
mod archive;
mod call;
mod card;
pub mod credentials;
mod decisions;
pub mod deploy;
mod deployment;
mod environment;
pub mod error;
pub mod events;
mod freeze;
mod gate;
mod history;
mod http;
mod lockdown;
pub mod login;
mod moment;
mod named;
mod place;
mod policy;
mod problem;
mod release;
mod remove;
mod rollback;
mod scan;
mod service;
pub mod session;
mod status;
mod trust;
mod verdict;
mod view;
mod vulnerability;
mod waiver;
mod whoami;

use clap::Subcommand;

use self::{credentials::ConnectionArgs, error::Error, http::Client, session::Session};
use super::{exit::Exit, output::Format};

#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Sign in on the server's page, and keep the session for the commands that follow.
    #[command(after_help = login::EXAMPLES)]
    Login(login::LoginArgs),
    /// Sign out: end the session that `waybill login` has begun.
    Logout,
    /// See where you have signed in, and end a session.
    #[command(subcommand)]
    Sessions(login::SessionsCommand),
    /// Ask the gate, run the command that deploys, and put its result on record.
    #[command(after_help = deploy::EXAMPLES)]
    Deploy(Box<deploy::DeployArgs>),
    /// Return a target to an earlier release, after showing what that reverts.
    #[command(after_help = rollback::EXAMPLES)]
    Rollback(Box<rollback::RollbackArgs>),
    /// Take a service out of an environment: ask the gate, run the command that removes it, and put its result on record.
    #[command(after_help = remove::EXAMPLES)]
    Remove(Box<remove::RemoveArgs>),
    /// Ask whether a release may go to an environment now, and wait for it if told to.
    #[command(after_help = gate::EXAMPLES)]
    Gate(gate::GateArgs),
    /// Show what runs where: services down, environments across in promotion order.
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// List deployments, newest first.
    #[command(after_help = history::EXAMPLES)]
    History(history::HistoryArgs),
    /// Show one deployment with its timeline.
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Read, follow and export the audit log.
    #[command(subcommand)]
    Events(events::EventsCommand),
    /// Put releases on record, and show them.
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Read what the gate said before, and evaluate it again.
    #[command(subcommand, after_help = decisions::EXAMPLES)]
    Decisions(decisions::DecisionsCommand),
    /// List services, show one and where it runs, archive those that are no more, and bring them back.
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// List environments, show one and what runs in it, confirm those that a deployment has registered, and archive those that are no more.
    #[command(subcommand)]
    Environment(environment::EnvironmentCommand),
    /// Read and set the rules of an environment's gate.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Say which pipelines may do what, told by their CI's ID tokens, and explain what becomes of one.
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Show who you are here, and what you may do.
    Whoami,
    /// List who may do what: every role, every token that is good, every trust, and whoever is signed in.
    Access,
    /// Say yes to a release going to an environment.
    #[command(after_help = approvals::EXAMPLES)]
    Approve(approve::ApproveArgs),
    /// Say no to a release going to an environment; it does not go there until you take that back.
    #[command(after_help = approvals::EXAMPLES)]
    Reject(approve::SayArgs),
    /// See what waits for approval, what was said about a release, and withdraw what you have said.
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// Declare freeze windows, and see when they hold.
    #[command(subcommand)]
    Freeze(freeze::FreezeCommand),
    /// Stop everything that would start in an environment, and let it go on.
    #[command(subcommand)]
    Lockdown(lockdown::LockdownCommand),
    /// Put vulnerability reports on record, and show them.
    #[command(subcommand)]
    Scan(scan::ScanCommand),
    /// Answer for a vulnerability for a while, so that it does not count against the budget.
    #[command(subcommand)]
    Waiver(waiver::WaiverCommand),
    /// Show which targets run a release that has a vulnerability.
    #[command(after_help = vulnerability::EXAMPLES)]
    Vulnerability(vulnerability::VulnerabilityArgs),
}

impl ClientCommand {
    /// Whether it is around a command whose exit code it returns.
    pub fn runs_a_command(&self) -> bool {
        if let Self::Deploy(args) = self {
            return args.runs_a_command();
        }
        matches!(self, Self::Rollback(args) if args.runs_a_command())
    }
}

/// A connection to the Waybill that the command line names.
pub fn connect(connection: &ConnectionArgs, format: Format) -> Result<Session, Error> {
    Ok(Session { client: Client::new(&connection.resolve()?)?, format })
}

pub async fn run(command: ClientCommand, connection: &ConnectionArgs, format: Format) -> Result<Exit, Error> {
    // Whoever signs in or out is nobody yet, or nobody any more.
    if let ClientCommand::Login(args) = &command {
        return login::login(args, connection, format).await;
    }
    if matches!(command, ClientCommand::Logout) {
        return login::logout(connection).await;
    }
    let session = connect(connection, format)?;
    match command {
        ClientCommand::Login(_) | ClientCommand::Logout => Ok(Exit::DONE),
        ClientCommand::Sessions(command) => login::sessions(&session, command).await,
        ClientCommand::Deploy(args) => deploy::run(&session, *args).await,
        ClientCommand::Rollback(args) => rollback::run(&session, *args).await,
        ClientCommand::Remove(args) => remove::run(&session, *args).await,
        ClientCommand::Gate(args) => gate::run(&session, args).await,
        ClientCommand::Status(args) => status::run(&session, &args).await,
        ClientCommand::History(args) => history::run(&session, &args).await,
        ClientCommand::Deployment(command) => deployment::run(&session, command).await,
        ClientCommand::Events(command) => events::run(&session, command).await,
        ClientCommand::Release(command) => release::run(&session, command).await,
        ClientCommand::Decisions(command) => decisions::run(&session, command).await,
        ClientCommand::Service(command) => service::run(&session, command).await,
        ClientCommand::Environment(command) => environment::run(&session, command).await,
        ClientCommand::Policy(command) => policy::run(&session, command).await,
        ClientCommand::Trust(command) => trust::run(&session, command).await,
        ClientCommand::Whoami => whoami::whoami(&session).await,
        ClientCommand::Access => whoami::access(&session).await,
        ClientCommand::Approve(args) => approve::approve(&session, &args).await,
        ClientCommand::Reject(args) => approve::reject(&session, &args).await,
        ClientCommand::Approvals(command) => approvals::run(&session, command).await,
        ClientCommand::Freeze(command) => freeze::run(&session, command).await,
        ClientCommand::Lockdown(command) => lockdown::run(&session, command).await,
        ClientCommand::Scan(command) => scan::run(&session, command).await,
        ClientCommand::Waiver(command) => waiver::run(&session, command).await,
        ClientCommand::Vulnerability(args) => vulnerability::run(&session, &args).await,
    }
}
