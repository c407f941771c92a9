//! Why a start failed: would another one fare better?

use std::io::{self, ErrorKind};

use anyhow::Error;

use crate::exit::{Failed, Silent};

/// Exit code 2, after which the unit is not started again (RestartPreventExitStatus=), where another start would fail
/// in the same way until somebody mends the file, what it names or this machine; 1 where it may succeed: a port that
/// is taken, an interface that comes late.
pub fn failure(error: Error) -> Error {
    if error.is::<Silent>() || is_lasting(&error) { error } else { Failed::from(error).into() }
}

fn is_lasting(error: &Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(|error: &io::Error| is_lasting_io(error.kind()))
            || cause.downcast_ref().is_some_and(is_lasting_layer7)
            || cause.downcast_ref().is_some_and(is_lasting_layer4)
    })
}

/// A file that is missing, forbidden or holds something else; a capability that the process lacks.
fn is_lasting_io(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidData
    )
}

fn is_lasting_layer7(error: &lb_l7::Error) -> bool {
    use lb_l7::Error::{AccessLog, PoolTls, Route, Tls};
    use lb_l7::access_log::AccessLogError::NoDirectory;
    matches!(error, Tls { .. } | PoolTls { .. } | Route(_) | AccessLog(NoDirectory { .. }))
}

fn is_lasting_layer4(error: &lb_l4::Error) -> bool {
    use lb_l4::Error::{NoBpffs, NoProgram, Object, Refused, TooMuch};
    match error {
        // Memory may be free by then.
        Refused(refusal) => refusal.why != lb_l4::refusal::Why::NoMemory,
        _ => matches!(error, NoBpffs { .. } | Object(_) | NoProgram(_) | TooMuch(_)),
    }
}
