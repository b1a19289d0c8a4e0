//! Command lines as Kafka's tools take them: no arguments print the help and exit with 0, wrong ones a message and exit
//! with 1, and so does what fails later.

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How a command line was understood.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    Run(Box<T>),
    Help(String),
    Refused(String),
}

/// Reads the command line, whose first word is the program. `check` has the last word on options that clap has passed.
pub(crate) fn parse<O: Parser, T>(
    args: impl IntoIterator<Item = OsString>,
    check: impl FnOnce(O) -> Result<T, String>,
) -> Outcome<T> {
    let args: Vec<OsString> = args.into_iter().collect();
    if args.len() <= 1 {
        return Outcome::Help(O::command().render_help().to_string());
    }
    let checked = O::try_parse_from(args).and_then(|options| {
        check(options).map_err(|problem| O::command().error(ErrorKind::ValueValidation, problem))
    });
    match checked {
        Ok(run) => Outcome::Run(Box::new(run)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Outcome::Help(error.to_string()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// Does what the command line says, with logs on standard error.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what a tool is for")]
pub(crate) async fn main<T, F>(
    name: &str,
    outcome: Outcome<T>,
    tool: impl FnOnce(Box<T>) -> F,
) -> ExitCode
where
    F: Future<Output = Result<(), Box<dyn Error>>>,
{
    let level = EnvFilter::builder().with_default_directive(LevelFilter::WARN.into());
    let log = tracing_subscriber::fmt().with_env_filter(level.from_env_lossy());
    log.with_writer(io::stderr).init();
    let ended = match outcome {
        Outcome::Run(run) => tool(run).await,
        Outcome::Help(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Outcome::Refused(text) => {
            eprint!("{text}");
            return ExitCode::FAILURE;
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: error: {error}");
            ExitCode::FAILURE
        }
    }
}
