//! tcp and udp.

use lb_core::health::FailureReason;
use lb_core::pool::Health;
use tokio::net::{TcpListener, UdpSocket};

use crate::servers::{Server, nobody};
use crate::{assert_fails, assert_passes, watch, watch_file};

#[tokio::test]
async fn tcp_passes_where_somebody_listens() {
    let server = Server::silent().await;
    assert_passes(server.address, "tcp: {}", "").await;
}

#[tokio::test]
async fn tcp_fails_where_nobody_listens() {
    assert_fails(nobody().await, "tcp: {}", "", FailureReason::Connect, "refused").await;
}

#[tokio::test]
async fn a_check_may_have_a_port_of_its_own() {
    let server = Server::silent().await;
    let check = format!("tcp: {{}}, port: {}", server.address.port());
    assert_passes(nobody().await, &check, "").await;
}

#[tokio::test]
async fn without_a_port_a_check_goes_to_that_of_the_frontends() {
    let server = Server::silent().await;
    let yaml = format!(
        "frontends:\n  web: {{ mode: dr, listen: '192.0.2.1:{port}', pool: app }}\n  \
         more: {{ mode: dr, listen: '192.0.2.2:{port}', pool: app }}\n\
         pools: {{ app: {{ backends: [127.0.0.1], check: {{ tcp: {{}}, interval: 1s }} }} }}",
        port = server.address.port()
    );
    watch_file(yaml).becomes(Health::Up).await;
}

#[tokio::test]
async fn a_backend_that_dies_goes_down_and_comes_back_up() {
    let server = Server::silent().await;
    let address = server.address;
    let watched = watch(address, "tcp: {}", "");
    watched.becomes(Health::Up).await;
    drop(server);
    watched.becomes(Health::Down).await;
    let listener = TcpListener::bind(address).await.unwrap();
    watched.becomes(Health::Up).await;
    drop(listener);
}

#[tokio::test]
async fn udp_passes_with_any_answer() {
    let server = Server::udp(|asked| Some(asked.to_vec())).await;
    assert_passes(server.address, "udp: { send: ping }", "").await;
}

#[tokio::test]
async fn udp_sends_and_expects_bytes() {
    let server = Server::udp(|asked| (asked == [0, 1, 0xff]).then(|| vec![7, 8, 9])).await;
    assert_passes(server.address, "udp: { send_hex: '0001ff', expect_hex: '0809' }", "").await;
    let check = "udp: { send_hex: '0001ff', expect_hex: '0908' }";
    assert_fails(server.address, check, "", FailureReason::Body, "3 bytes").await;
}

#[tokio::test]
async fn udp_fails_at_once_where_the_port_is_closed() {
    let address = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_fails(address, "udp: { send: ping }", "", FailureReason::Connect, "refused").await;
}

#[tokio::test]
async fn udp_fails_without_an_answer() {
    let server = Server::udp(|_| None).await;
    assert_fails(server.address, "udp: { send: ping }", "", FailureReason::Timeout, "waiting for the answer").await;
}
