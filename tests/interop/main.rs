//! Holds minicol against the released Session-Buddy 0.23.0: the same figures as the server's own tools tell, and the right points when it is
//! killed and started again. Run it by `tests/interop/run`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod buddy;
mod checks;

use std::process::ExitCode;

use buddy::{Buddy, Started};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let buddy = match Buddy::start(18_678, 25).await? {
        Started::Serves(buddy) => buddy,
        Started::NoPython => return Ok(ExitCode::from(77)),
    };
    println!("Session-Buddy 0.23.0 serves {}", buddy.url());
    checks::figures(&buddy).await?;
    checks::life(buddy).await?;
    println!("2 passed, 0 failed");
    Ok(ExitCode::SUCCESS)
}
