//! What is remembered of a request for the counters and the access log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lb_core::pool::Backend;

use super::Peer;
use crate::access_log::{Fault, Record, Side};
use crate::head::{Name, RequestHead};
use crate::plan::FrontendPlan;
use crate::worker::Worker;

#[derive(Debug)]
pub struct Trail {
    pub started: Instant,
    /// 0 until a response has begun.
    pub status: u16,
    pub route: Option<usize>,
    pub backend: Option<Arc<Backend>>,
    pub pool: Option<Arc<str>>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub queue: Option<Duration>,
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub retries: u32,
    pub fault: Option<Fault>,
    /// The request broke the protocol or a limit of its head.
    pub malformed: bool,
    /// There is an access log, so the details are worth taking down.
    pub logged: bool,
}

impl Trail {
    pub fn start(worker: &Worker) -> Self {
        Self {
            started: clock(),
            logged: worker.log.borrow().is_some(),
            status: 0,
            route: None,
            backend: None,
            pool: None,
            bytes_in: 0,
            bytes_out: 0,
            queue: None,
            connect: None,
            first_byte: None,
            retries: 0,
            fault: None,
            malformed: false,
        }
    }

    pub fn elapsed(&self) -> Duration {
        clock().saturating_duration_since(self.started)
    }

    pub fn client_gone(&mut self) {
        self.fault.get_or_insert(Fault { side: Side::Client, reason: "client_closed" });
    }

    /// Counts the request, and writes its line in the access log where there is one.
    pub fn finish(&self, worker: &Worker, frontend: &FrontendPlan, peer: &Peer, head: &RequestHead) {
        let elapsed = self.elapsed();
        let counters = frontend.frontend.live.counters.shard(worker.index);
        if let Some(class) = (self.status / 100).checked_sub(1)
            && let Some(counter) = counters.requests.get(usize::from(class))
        {
            counter.inc();
            counters.durations.observe_us(micros(elapsed));
        }
        if self.malformed {
            counters.bad_requests.inc();
        }
        counters.bytes_received.add(self.bytes_in);
        counters.bytes_sent.add(self.bytes_out);
        if let Some(log) = &mut *worker.log.borrow_mut() {
            log.record(&self.record(elapsed, frontend, peer, head));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the access log tells the time of day")]
    fn record<'a>(
        &'a self,
        elapsed: Duration,
        frontend: &'a FrontendPlan,
        peer: &'a Peer,
        head: &'a RequestHead,
    ) -> Record<'a> {
        let began = SystemTime::now().checked_sub(elapsed).and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
        Record {
            unix_ms: began.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(0)),
            client: peer.address,
            frontend: &frontend.frontend.config.name,
            route: self.route.map(|index| index + 1),
            pool: self.pool.as_deref(),
            backend: self.backend.as_ref().map(|b| &*b.config.name),
            method: head.method_name().as_bytes(),
            host: head.authority(),
            path: head.target(),
            protocol: head.version.as_str(),
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_us: micros(elapsed),
            queue_us: self.queue.map(micros),
            connect_us: self.connect.map(micros),
            first_byte_us: self.first_byte.map(micros),
            retries: self.retries,
            tls: peer.tls,
            user_agent: head.block.get(Name::UserAgent).unwrap_or_default(),
            referer: head.block.get(Name::Referer).unwrap_or_default(),
            fault: self.fault,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "requests are timed where they are served")]
fn clock() -> Instant {
    Instant::now()
}
