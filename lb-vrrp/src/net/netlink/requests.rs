use std::fmt;
use std::io;
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{MsgFlags, recv};

/// One answer of the kernel fits; dumps come in pieces of 32 KiB at most (net/netlink/af_netlink.c, netlink_dump).
pub(super) const BUFFER: usize = 64 << 10;
/// Messages in one system call. Should all of them fail, the answers fit the receive buffer.
const BATCH: usize = 64;
/// A list that changed while it was read is read anew so often; then it is good enough, for the change is notified.
const ATTEMPTS: usize = 3;

/// A socket for questions and commands. It never blocks: the kernel has answered when the message is sent.
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

enum Answers {
    Whole(Vec<Message>),
    Torn(Vec<Message>),
}

impl Requests {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        // Refusals do not quote the request; dumps of addresses are filtered by the kernel.
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self { socket, sequence: 0, outgoing: Vec::new(), incoming: vec![0; BUFFER] })
    }

    pub fn get(&mut self, question: Message) -> io::Result<Message> {
        self.forget();
        self.outgoing.clear();
        let sequence = self.append(question, 0);
        self.socket.send(&self.outgoing, 0)?;
        loop {
            let length = self.receive()?;
            for message in messages::<Message>(&self.incoming[..length]) {
                if message.header.sequence_number != sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    pub fn dump(&mut self, question: Message) -> io::Result<Vec<Message>> {
        for _ in 1..ATTEMPTS {
            if let Answers::Whole(answers) = self.dump_once(question.clone())? {
                return Ok(answers);
            }
        }
        match self.dump_once(question)? {
            Answers::Whole(answers) | Answers::Torn(answers) => Ok(answers),
        }
    }

    fn dump_once(&mut self, question: Message) -> io::Result<Answers> {
        self.forget();
        self.outgoing.clear();
        let sequence = self.append(question, NLM_F_DUMP);
        self.socket.send(&self.outgoing, 0)?;
        let mut answers = Vec::new();
        let mut is_torn = false;
        loop {
            let length = self.receive()?;
            for message in messages::<Message>(&self.incoming[..length]) {
                if message.header.sequence_number != sequence {
                    continue;
                }
                is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Done(_) if is_torn => return Ok(Answers::Torn(answers)),
                    NetlinkPayload::Done(_) => return Ok(Answers::Whole(answers)),
                    _ => {}
                }
            }
        }
    }

    /// Carries out many commands, and hands over the number of each that the kernel refuses.
    pub fn change(
        &mut self,
        commands: impl Iterator<Item = Message>,
        flags: u16,
        mut refused: impl FnMut(usize, io::Error),
    ) -> io::Result<()> {
        let mut commands = commands.peekable();
        let mut done = 0;
        while commands.peek().is_some() {
            self.forget();
            self.outgoing.clear();
            let first = self.sequence.wrapping_add(1);
            let mut last = first;
            for nth in 0..BATCH {
                let Some(command) = commands.next() else { break };
                // Only the last success is acknowledged; a refusal always is.
                let is_last = nth + 1 == BATCH || commands.peek().is_none();
                last = self.append(command, flags | if is_last { NLM_F_ACK } else { 0 });
            }
            self.socket.send(&self.outgoing, 0)?;
            self.outcomes(first, last, &mut |nth, error| refused(done + nth, error))?;
            done += BATCH;
        }
        Ok(())
    }

    fn outcomes(&mut self, first: u32, last: u32, refused: &mut impl FnMut(usize, io::Error)) -> io::Result<()> {
        loop {
            let length = self.receive()?;
            for message in messages::<Message>(&self.incoming[..length]) {
                let NetlinkPayload::Error(error) = message.payload else { continue };
                let sequence = message.header.sequence_number;
                let nth = sequence.wrapping_sub(first) as usize;
                if nth >= BATCH {
                    continue;
                }
                if error.code.is_some() {
                    refused(nth, error.to_io());
                }
                if sequence == last {
                    return Ok(());
                }
            }
        }
    }

    fn append(&mut self, message: Message, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let begin = self.outgoing.len();
        self.outgoing.resize(begin + (message.header.length as usize).next_multiple_of(4), 0);
        message.serialize(&mut self.outgoing[begin..]);
        self.sequence
    }

    /// What an exchange that failed may have left.
    fn forget(&mut self) {
        while self.receive().is_ok() {}
    }

    fn receive(&mut self) -> io::Result<usize> {
        Ok(recv(self.socket.as_raw_fd(), &mut self.incoming, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// What a datagram holds. What we do not understand (a newer attribute) is passed over, by the length in its header.
pub(super) fn messages<T: NetlinkDeserializable>(bytes: &[u8]) -> impl Iterator<Item = NetlinkMessage<T>> {
    const HEADER: usize = 16;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        loop {
            let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
            let message = rest.get(..length).filter(|message| message.len() >= HEADER)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Ok(message) = NetlinkMessage::<T>::deserialize(message) {
                return Some(message);
            }
        }
    })
}
