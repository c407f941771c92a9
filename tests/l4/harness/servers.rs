//! dnsmasq on the backends.

use super::{Net, Running};
use crate::shared::eventually;

/// dnsmasq on port 53: the text of `who.test` is the backend's name.
pub struct Dns(#[allow(dead_code, reason = "kept running")] Vec<Running>);

impl Dns {
    pub fn start(net: &Net) -> Dns {
        let servers = net.backends.iter().map(|host| {
            let mut command = host.command("dnsmasq");
            command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
            command.args(["--pid-file=", "--log-facility=/dev/null", &format!("--txt-record=who.test,{}", host.name)]);
            let server = Running::start(command);
            eventually("dnsmasq answers", || host.try_run(&ask_who("127.0.0.1")).status.success());
            server
        });
        Dns(servers.collect())
    }
}

/// One question to a server, not repeated.
pub fn ask_who(server: &str) -> String {
    format!("dig +short +time=2 +tries=3 @{server} who.test TXT")
}
