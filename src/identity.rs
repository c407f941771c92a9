//! Which of the file's nodes this process is.

use anyhow::{Result, bail};
use lb_core::config::{Config, Identity};
use nix::unistd::gethostname;

/// By `--node` or LB_NODE, else by the name of the host.
pub fn identity(node: Option<&str>) -> Identity {
    match node {
        Some(node) => Identity::Named(node.to_owned()),
        None => gethostname().map_or(Identity::None, |host| Identity::Host(host.to_string_lossy().into_owned())),
    }
}

/// Who serves must know which node this is, if there are any.
pub fn require_node(config: &Config, identity: &Identity) -> Result<()> {
    if config.nodes.is_empty() || config.this_node.is_some() {
        return Ok(());
    }
    let nodes: Vec<_> = config.nodes.iter().map(|node| &*node.name).collect();
    let host = match identity {
        Identity::Host(host) => format!("this host is called `{host}`"),
        Identity::None | Identity::Named(_) => "this host has no name".to_owned(),
    };
    bail!("which node is this? {host}, and the nodes are {}: name one with --node or LB_NODE", nodes.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lb_core::config::load_as;

    use super::*;

    fn config(nodes: &str, identity: &Identity) -> Config {
        let text = format!("{nodes}\nfrontends: {{ f: {{ listen: '0.0.0.0:80', routes: [{{ respond: 200 }}] }} }}\n");
        load_as(text, Path::new("lb.yaml"), &|_| None, identity).unwrap_or_else(|problems| panic!("{problems}")).config
    }

    #[test]
    fn who_is_no_node_cannot_serve_a_file_with_nodes() {
        let nodes = "nodes: { lb-a: { address: 10.0.0.2 }, lb-b: { address: 10.0.0.3 } }";
        let host = |name: &str| Identity::Host(name.to_owned());
        assert!(require_node(&config(nodes, &host("lb-b.example.com")), &host("lb-b.example.com")).is_ok());
        assert!(require_node(&config("", &host("www")), &host("www")).is_ok());
        let why = require_node(&config(nodes, &host("www")), &host("www")).expect_err("no node").to_string();
        assert_eq!(
            why,
            "which node is this? this host is called `www`, and the nodes are lb-a, lb-b: name one with --node or LB_NODE"
        );
    }
}
