use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{Advert, Wire};

/// A router that sends the same advert over and over, until it is dropped.
pub struct Rival {
    stop: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
}

impl Rival {
    pub fn start(wire: &Arc<Wire>, advert: &Advert, every: Duration) -> Rival {
        let stop = Arc::new(AtomicBool::new(false));
        let (wire, frame, until) = (wire.clone(), advert.frame(), stop.clone());
        let sender = thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                wire.send_frame(&frame);
                thread::sleep(every);
            }
        });
        Rival { stop, sender: Some(sender) }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.sender.take().unwrap().join();
    }
}
