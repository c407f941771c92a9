//! Pools and their backends.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Validator, collect};
use crate::config::decode::{At, Entry, List};
use crate::config::diagnostic::{Help, Span, quoted};
use crate::config::forms;
use crate::config::http_words::is_host_name;
use crate::config::model::{self, Protocol};
use crate::config::raw;

impl Validator<'_, '_> {
    pub(super) fn pool(&mut self, name: &At<String>, raw: &raw::Pool) -> Option<Arc<model::Pool>> {
        let good_name = self.name(name, "");
        let settings = self.layer7_settings(&name.value, raw);
        let tls = self.pool_tls(raw);
        let check = self.check(&raw.check);
        let mut names = HashMap::new();
        let backends = self.backends(name, raw, &mut names);
        let backup = self.backend_list(&name.value, &raw.backup, &mut names);
        let retry = raw.retry.value().cloned().unwrap_or_default();
        let (backends, backup) = (backends?, backup?);
        let frontend_port = self.frontend_port(&name.value, raw, [&backends, &backup]);
        let frontend_port = frontend_port?;
        let check = check?.map(|check| model::Check { frontend_port, ..check });
        settings?;
        Some(Arc::new(model::Pool {
            name: good_name?,
            scheduler: raw.scheduler(),
            protocol: raw.protocol(),
            tls: tls?,
            check,
            timeouts: timeouts(&raw.timeouts),
            retry: model::Retry { attempts: retry.attempts(), budget_percent: retry.budget().0 },
            max_queue: raw.max_queue(),
            max_idle: raw.max_idle(),
            via: raw.via(),
            backends,
            backup,
        }))
    }

    fn backends(
        &mut self,
        pool: &At<String>,
        raw: &raw::Pool,
        names: &mut HashMap<Arc<str>, Span>,
    ) -> Option<Vec<Arc<model::Backend>>> {
        let list = self.required(&raw.backends, pool.span, "a pool", "backends")?;
        if list.value.is_empty {
            return self.refuse(list.key, "a pool needs at least one backend");
        }
        self.backend_list(&pool.value, &raw.backends, names)
    }

    fn backend_list(
        &mut self,
        pool: &str,
        entry: &Entry<List<forms::BackendEntry>>,
        names: &mut HashMap<Arc<str>, Span>,
    ) -> Option<Vec<Arc<model::Backend>>> {
        let items = entry.value().into_iter().flat_map(|list| &list.items);
        collect(items.map(|item| self.backend(pool, item, names)).collect())
    }

    fn backend(
        &mut self,
        pool: &str,
        item: &At<forms::BackendEntry>,
        names: &mut HashMap<Arc<str>, Span>,
    ) -> Option<Arc<model::Backend>> {
        let raw = &item.value.0;
        let address = self.backend_address(pool, item);
        let name = self.backend_name(raw, names);
        Some(Arc::new(model::Backend {
            name: name?,
            address: address?,
            weight: raw.weight(),
            max_connections: raw.max_connections.value().copied(),
            state: raw.state(),
        }))
    }

    fn backend_name(&mut self, raw: &raw::Backend, names: &mut HashMap<Arc<str>, Span>) -> Option<Arc<str>> {
        let unnamed = || {
            raw.address.given().map(|address| At {
                value: address.value.text.clone(),
                span: address.span,
                key: address.key,
            })
        };
        let written = raw.name.given().cloned().or_else(unnamed)?;
        let name = self.name(&written, ":[]")?;
        if let Some(first) = names.insert(name.clone(), written.span) {
            let message = format!("two backends of this pool are named `{name}`");
            self.problems.error_with(written.span, message, Help::First(first));
            return None;
        }
        Some(name)
    }

    fn pool_tls(&mut self, raw: &raw::Pool) -> Option<Option<model::PoolTls>> {
        match (&raw.tls, raw.protocol()) {
            (Entry::Bad, _) => None,
            (Entry::Given(tls), Protocol::H2c) => {
                let help = Help::Text("HTTP/2 over TLS is `protocol: h2`".to_owned());
                self.problems.error_with(tls.key, "protocol `h2c` is without tls", help);
                None
            }
            (Entry::Given(tls), _) => self.pool_tls_keys(&tls.value).map(Some),
            (Entry::Absent, Protocol::H2) => self.pool_tls_keys(&raw::PoolTls::default()).map(Some),
            (Entry::Absent, _) => Some(None),
        }
    }

    fn pool_tls_keys(&mut self, tls: &raw::PoolTls) -> Option<model::PoolTls> {
        if let Some(name) = tls.server_name.given()
            && !is_host_name(&name.value)
        {
            self.problems.error(name.span, format!("{} is not the name of a server", quoted(&name.value)));
        }
        let client = match tls.client.given() {
            Some(client) => Some(self.certificate(client)?),
            None => None,
        };
        Some(model::PoolTls {
            ca: tls.ca.value().cloned(),
            server_name: tls.server_name.value().cloned(),
            verify: tls.verify(),
            client,
        })
    }
}

fn timeouts(entry: &Entry<raw::PoolTimeouts>) -> model::PoolTimeouts {
    let timeouts = entry.value().cloned().unwrap_or_default();
    model::PoolTimeouts {
        connect: timeouts.connect(),
        response: timeouts.response(),
        queue: timeouts.queue(),
        idle: timeouts.idle(),
    }
}
