//! Sockets, buffers and time, as one worker uses them: nothing here is shared between threads.

pub mod buffer;
pub mod date;
pub mod deadline;
pub mod message;
pub mod send_limit;
pub mod splice;
pub mod tcp;
pub mod transport;
