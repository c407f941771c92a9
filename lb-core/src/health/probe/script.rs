//! A program of the operator's own; exit code 0 is success.

use std::io;

use super::{Doing, Found, fail, io_outcome};
use crate::config::ScriptProbe;
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};
use crate::script;

pub async fn probe(target: &Target, probe: &ScriptProbe, doing: &Doing) -> Found {
    doing.now("the script");
    let failed = |error: io::Error| io_outcome(FailureReason::Exit, "script", &error);
    let ended = script::run(&probe.command, &environment(target)).await.map_err(failed)?;
    let text = ended.to_string();
    if ended.status.success() { Ok(Outcome::success(text)) } else { fail(FailureReason::Exit, text) }
}

fn environment(target: &Target) -> [(&'static str, String); 4] {
    let address = target.address();
    [
        ("LB_POOL", target.backend.pool.to_string()),
        ("LB_BACKEND", target.backend.config.name.to_string()),
        ("LB_ADDRESS", address.ip().to_string()),
        ("LB_PORT", address.port().to_string()),
    ]
}
