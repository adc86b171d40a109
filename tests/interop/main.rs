//! Holds minicol against MCP servers in Python: the released Session-Buddy 0.23.0 (the same figures as the server's own tools tell, and the right
//! points when it is killed and started again), and servers on `FastMCP`, old and new. Run it by `tests/interop/run`.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used, clippy::expect_used)]

mod buddy;
mod checks;
mod fastmcp;

use std::process::ExitCode;

use anyhow::bail;
use buddy::{Buddy, Started};

const KNOWN: [&str; 3] = ["session-buddy", "fastmcp", "fastmcp-mutual-tls"];

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let which: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| which.is_empty() || which.iter().any(|one| one == name);
    if let Some(other) = which.iter().find(|one| !KNOWN.contains(&one.as_str())) {
        bail!("{other} is none of {}", KNOWN.join(", "));
    }
    let mut passed = 0;
    if wanted("fastmcp") {
        if fastmcp::every_way_of_answering().await? {
            fastmcp::life().await?;
            fastmcp::mutual_tls().await?;
            passed += 3;
        } else {
            eprintln!("skipped: FastMCP");
        }
    }
    if which.iter().any(|one| one == "fastmcp-mutual-tls") {
        fastmcp::mutual_tls().await?;
        passed += 1;
    }
    if wanted("session-buddy") {
        match Buddy::start(18_678, 25).await? {
            Started::Serves(buddy) => {
                println!("Session-Buddy 0.23.0 serves {}", buddy.url());
                checks::figures(&buddy).await?;
                checks::life(buddy).await?;
                passed += 2;
            }
            Started::NoPython => eprintln!("skipped: Session-Buddy"),
        }
    }
    if passed == 0 {
        return Ok(ExitCode::from(77));
    }
    println!("{passed} passed, 0 failed");
    Ok(ExitCode::SUCCESS)
}
