//! Origin servers inside the test: std threads, either answering whole requests or handed raw connections.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::PATIENCE;
use super::http1::{self, Request};

/// Stops listening and closes its connections when dropped.
pub struct Origin {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    listener: TcpListener,
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Request>>,
    accepted: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
    stopped: AtomicBool,
}

/// What an origin says; `Content-Length` is added.
pub struct Reply {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn ok(body: impl Into<Vec<u8>>) -> Reply {
        Reply::status(200, body)
    }

    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, fields: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Reply {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    fn write(&self, to: &mut impl Write, method: &str) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", self.status, self.body.len()).into_bytes();
        for (name, value) in &self.fields {
            text.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        text.extend(b"\r\n");
        if method != "HEAD" {
            text.extend(&self.body);
        }
        to.write_all(&text)
    }
}

impl Origin {
    /// Answers every request with its own name.
    pub fn named(name: &str) -> Origin {
        let name = name.to_owned();
        Origin::start(move |_| Reply::ok(name.clone()))
    }

    /// Answers with the request's body.
    pub fn echo() -> Origin {
        Origin::start(|request| Reply::ok(request.body.clone()))
    }

    /// Reads whole requests, keeps them, and answers.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::on(free_listener(), answer)
    }

    /// The same on a listener that the test chose.
    pub fn on(listener: TcpListener, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Origin {
        Origin::serve(listener, move |shared, stream, _| {
            let mut input = BufReader::new(stream.try_clone().unwrap());
            let mut output = stream;
            while let Ok(Some(request)) = http1::read_request(&mut input) {
                let (reply, method) = (answer(&request), request.method.clone());
                shared.requests.lock().unwrap().push(request);
                if reply.write(&mut output, &method).is_err() {
                    break;
                }
            }
        })
    }

    /// Hands over each connection with its number, from 0; it is closed when `serve` returns.
    pub fn raw(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Origin {
        Origin::serve(free_listener(), move |_, stream, nth| serve(stream, nth))
    }

    fn serve(listener: TcpListener, serve: impl Fn(&Shared, TcpStream, usize) + Send + Sync + 'static) -> Origin {
        let shared = Arc::new(Shared::default());
        let origin = Origin {
            addr: listener.local_addr().unwrap(),
            shared: shared.clone(),
            listener: listener.try_clone().unwrap(),
        };
        thread::spawn(move || accept(&listener, &shared, &Arc::new(serve)));
        origin
    }

    /// Every request read so far, in the order of their ends.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub fn last_request(&self) -> Request {
        self.requests().pop().expect("the origin has seen a request")
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes the connections that are open now.
    pub fn hang_up(&self) {
        for stream in self.shared.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // On Linux this ends a blocked accept.
        let _ = socket2::SockRef::from(&self.listener).shutdown(Shutdown::Both);
        self.hang_up();
    }
}

/// A listener on a free port, for a server that comes later or that refuses to accept.
pub fn free_listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn accept<F>(listener: &TcpListener, shared: &Arc<Shared>, serve: &Arc<F>)
where
    F: Fn(&Shared, TcpStream, usize) + Send + Sync + 'static,
{
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(3 * PATIENCE)).unwrap();
        stream.set_read_timeout(Some(3 * PATIENCE)).unwrap();
        let nth = shared.accepted.fetch_add(1, Ordering::SeqCst);
        shared.open.lock().unwrap().insert(nth, stream.try_clone().unwrap());
        let (shared, serve) = (shared.clone(), serve.clone());
        thread::spawn(move || {
            serve(&shared, stream, nth);
            if let Some(stream) = shared.open.lock().unwrap().remove(&nth) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }
}
