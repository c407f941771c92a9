//! http checks: what is asked, and what counts as an answer.

use lb_core::health::FailureReason;

use crate::servers::{Server, nobody};
use crate::{assert_fails, assert_passes};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_plain_answer_passes() {
    let (server, mut requests) = Server::http(OK).await;
    assert_passes(server.address, "http: {}", "").await;
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("get / http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: {}\r\n", server.address)), "{request}");
    assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
}

#[tokio::test]
async fn method_path_and_host_are_sent_as_configured() {
    let (server, mut requests) = Server::http(OK).await;
    let check = "http: { method: HEAD, path: '/healthz?deep=1', host: api.example.com }";
    assert_passes(server.address, check, "").await;
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("HEAD /healthz?deep=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: api.example.com\r\n"), "{request}");
}

#[tokio::test]
async fn a_status_that_is_not_expected_fails() {
    let (server, _requests) = Server::http("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
    assert_fails(server.address, "http: {}", "", FailureReason::Status, "status 503").await;
    assert_passes(server.address, "http: { expect: [200, 500-503] }", "").await;
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Server::silent().await;
    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\n\r\n", elsewhere.address);
    let (server, mut requests) = Server::http(redirect).await;
    assert_fails(server.address, "http: { expect: 200 }", "", FailureReason::Status, "status 302").await;
    assert!(requests.recv().await.unwrap().starts_with("GET / "));
}

#[tokio::test]
async fn a_body_is_searched_across_its_chunks() {
    let body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall i\r\n7\r\ns well!\r\n0\r\n\r\n";
    let (server, _requests) = Server::http(body).await;
    assert_passes(server.address, "http: { body_contains: 'is well' }", "").await;
    let check = "http: { body_contains: 'not well' }";
    assert_fails(server.address, check, "", FailureReason::Body, "without `not well`").await;
}

#[tokio::test]
async fn only_the_first_64_kib_of_a_body_count() {
    let page = |before: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}ready", "x".repeat(before));
    let (server, _requests) = Server::http(page(65_536 - 5)).await;
    assert_passes(server.address, "http: { body_contains: ready }", "").await;
    let (server, _requests) = Server::http(page(65_536 - 4)).await;
    assert_fails(server.address, "http: { body_contains: ready }", "", FailureReason::Body, "without").await;
}

#[tokio::test]
async fn a_server_that_never_answers_fails_in_time() {
    let server = Server::silent().await;
    assert_fails(server.address, "http: {}", "", FailureReason::Timeout, "waiting for the response").await;
}

#[tokio::test]
async fn what_is_not_http_fails() {
    let (server, _requests) = Server::http("SSH-2.0-OpenSSH_9.2\r\n").await;
    assert_fails(server.address, "http: {}", "", FailureReason::Protocol, "").await;
    let (server, _requests) = Server::http("").await;
    assert_fails(server.address, "http: {}", "", FailureReason::Protocol, "").await;
}

#[tokio::test]
async fn a_refused_connection_is_no_protocol_failure() {
    assert_fails(nobody().await, "http: {}", "", FailureReason::Connect, "refused").await;
}
