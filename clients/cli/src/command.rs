//! One function per verb.

mod can;
mod cert;
mod dev_token;
mod help;
mod inbox;
mod ledger;
mod login;
mod ls;
mod policy;
mod request;
mod run;
mod show;
mod token;
mod vote;
mod wait;
mod whoami;

use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::Settings;

/// Runs the verb. Only `run` has exit codes that are not ours.
///
/// # Errors
/// What to say and with what to exit.
pub(crate) fn dispatch(args: Args, output: &Output) -> Result<ExitCode, Failure> {
    let settings = || Settings::new(&args.global);
    let exit: Exit = match args.command {
        Command::Approve(approve) => vote::approve(&approve, &settings()?, output)?,
        Command::Can(can) => can::can(&can, &settings()?, output)?,
        Command::Cert(cert) => cert::cert(&cert, &settings()?, output)?,
        Command::Completion { shell } => help::completion(shell, output)?,
        Command::Deny(deny) => vote::deny(&deny, &settings()?, output)?,
        Command::DevToken(dev_token) => dev_token::dev_token(&dev_token, &settings()?, output)?,
        Command::Help { topic } => help::help(topic, output)?,
        Command::Inbox(inbox) => inbox::inbox(&inbox, &settings()?, output)?,
        Command::Ledger(ledger) => ledger::ledger(ledger, &settings()?, output)?,
        Command::Login(login) => login::login(&login, settings()?, output)?,
        Command::Ls(ls) => ls::ls(&ls, &settings()?, output)?,
        Command::Logout => login::logout(&settings()?, output)?,
        Command::Policy(policy) => policy::policy(policy, output)?,
        Command::Request(request) => request::request(&request, &settings()?, output)?,
        Command::Run(run) => return run::run(run, &settings()?, output),
        Command::Show(show) => show::show(&show, &settings()?, output)?,
        Command::Token(token) => token::token(&token, &settings()?, output)?,
        Command::Wait(wait) => wait::wait(&wait, &settings()?, output)?,
        Command::Whoami(whoami) => whoami::whoami(&whoami, &settings()?, output)?,
    };
    Ok(exit.into())
}
