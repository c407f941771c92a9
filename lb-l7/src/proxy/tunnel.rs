//! Bytes both ways after a switch of protocols (RFC 9110 section 7.8), until both sides are done or silent.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::time::Duration;

use super::trail::Trail;
use super::{Client, Scene};
use crate::access_log::{Fault, Side};
use crate::io::deadline::Timer;
use crate::io::message::Inbox;
use crate::io::transport::Transport;
use crate::upstream::Link;

/// Returns the bytes that went up and down.
pub async fn run<C: Client>(scene: &Scene<'_>, client: &mut C, link: &mut Link, trail: &mut Trail) -> (u64, u64) {
    // Only HTTP/1.1 on both sides can have got here.
    let (Some((down, down_inbox)), Link::H1(link)) = (client.raw(), link) else { return (0, 0) };
    let (mut sent, mut received) = (0, 0);
    let (up, up_inbox) = link.raw();
    let idle = scene.frontend.http.timeouts.tunnel;
    scene.timer.set(idle);
    let timer = scene.timer;
    let request = copy(down, down_inbox, up, timer, idle, &mut sent);
    let response = copy(up, up_inbox, down, timer, idle, &mut received);
    let both = async { tokio::try_join!(request, response) };
    if timer.limit(both).await.is_err() {
        trail.fault = Some(Fault { side: Side::Lb, reason: "tunnel_timeout" });
    }
    trail.bytes_in += sent;
    trail.bytes_out += received;
    (sent, received)
}

/// One direction, up to its end, which is passed on.
async fn copy(
    from: &Transport,
    inbox: &mut Inbox,
    to: &Transport,
    timer: &Timer,
    idle: Duration,
    moved: &mut u64,
) -> io::Result<()> {
    loop {
        if inbox.is_empty() && poll_fn(|cx| inbox.poll_fill(from, cx, false)).await? == 0 {
            return to.shutdown().await;
        }
        let written = poll_fn(|cx| to.poll_write(cx, &[IoSlice::new(inbox.filled())])).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        inbox.consume(written);
        *moved += written as u64;
        timer.set(idle);
        if inbox.is_empty() {
            poll_fn(|cx| to.poll_flush(cx)).await?;
        }
    }
}
