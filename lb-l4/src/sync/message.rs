//! What nodes tell each other about flows, one to a datagram.

use super::record::{LARGEST, Malformed, Reader, Record};

/// Datagrams of one slice at most.
pub const SLICE: u8 = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Flows that are new, have changed or go on. Numbered from 1, for all receivers alike.
    Flows {
        sequence: u64,
        records: Vec<Record>,
    },
    /// So many `Flows` there were: did all come?
    Tip {
        sequence: u64,
    },
    /// All up to that one came.
    Ack {
        sequence: u64,
    },
    /// These did not, the last included.
    Missing {
        from: u64,
        to: u64,
    },
    /// What was in them is told again, in new ones; or, not `kept`, nobody knows any more what it was.
    Again {
        from: u64,
        to: u64,
        kept: bool,
    },
    /// All flows from a bucket on, as many as are told at once.
    Pull {
        dump: u32,
        bucket: u32,
    },
    Slice(Slice),
}

/// Part of an answer to a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    pub dump: u32,
    /// Of the last `Flows` before: what those told is in here, or in a slice that follows.
    pub sequence: u64,
    /// As asked for.
    pub bucket: u32,
    /// Where the next slice begins; `None`: this was the last.
    pub next: Option<u32>,
    /// This datagram, of so many of this slice.
    pub index: u8,
    pub count: u8,
    pub records: Vec<Record>,
}

/// Before the records.
const HEAD: usize = 24;
const END: u32 = u32::MAX;

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![];
        match self {
            Message::Flows { sequence, records } => {
                numbered(&mut out, 1, &[*sequence]);
                records.iter().for_each(|record| record.encode(&mut out));
            }
            Message::Tip { sequence } => numbered(&mut out, 2, &[*sequence]),
            Message::Ack { sequence } => numbered(&mut out, 3, &[*sequence]),
            Message::Missing { from, to } => numbered(&mut out, 4, &[*from, *to]),
            Message::Again { from, to, kept } => {
                numbered(&mut out, 5, &[*from, *to]);
                out.push(u8::from(*kept));
            }
            Message::Pull { dump, bucket } => {
                out.push(6);
                out.extend(dump.to_be_bytes());
                out.extend(bucket.to_be_bytes());
            }
            Message::Slice(slice) => slice.encode(&mut out),
        }
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            1 => Message::Flows { sequence: reader.u64()?, records: records(&mut reader)? },
            2 => Message::Tip { sequence: reader.u64()? },
            3 => Message::Ack { sequence: reader.u64()? },
            4 => Message::Missing { from: reader.u64()?, to: reader.u64()? },
            5 => Message::Again { from: reader.u64()?, to: reader.u64()?, kept: reader.u8()? != 0 },
            6 => Message::Pull { dump: reader.u32()?, bucket: reader.u32()? },
            7 => Message::Slice(Slice::decode(&mut reader)?),
            _ => return Err(Malformed),
        };
        if reader.0.is_empty() { Ok(message) } else { Err(Malformed) }
    }
}

impl Slice {
    fn encode(&self, out: &mut Vec<u8>) {
        numbered(out, 7, &[self.sequence]);
        for number in [self.dump, self.bucket, self.next.unwrap_or(END)] {
            out.extend(number.to_be_bytes());
        }
        out.extend([self.index, self.count]);
        self.records.iter().for_each(|record| record.encode(out));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sequence = reader.u64()?;
        let (dump, bucket, next) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let [index, count] = reader.array()?;
        let next = (next != END).then_some(next);
        // Or a dump would never end.
        if index >= count || count > SLICE || next.is_some_and(|next| next <= bucket) {
            return Err(Malformed);
        }
        Ok(Self { dump, sequence, bucket, next, index, count, records: records(reader)? })
    }
}

fn numbered(out: &mut Vec<u8>, kind: u8, numbers: &[u64]) {
    out.push(kind);
    numbers.iter().for_each(|number| out.extend(number.to_be_bytes()));
}

fn records(reader: &mut Reader<'_>) -> Result<Vec<Record>, Malformed> {
    let mut records = vec![];
    while !reader.0.is_empty() {
        records.push(Record::decode(reader)?);
    }
    Ok(records)
}

/// As many of them as fit into one message of `room` bytes, from the front.
pub fn fitting(records: &[Record], room: usize) -> &[Record] {
    let (mut used, mut count, mut bytes) = (HEAD, 0, Vec::with_capacity(LARGEST));
    for record in records {
        bytes.clear();
        record.encode(&mut bytes);
        used += bytes.len();
        if used > room {
            break;
        }
        count += 1;
    }
    &records[..count]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::record;
    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let records = || prop::collection::vec(record(), 0..15);
        prop_oneof![
            (any::<u64>(), records()).prop_map(|(sequence, records)| Message::Flows { sequence, records }),
            any::<u64>().prop_map(|sequence| Message::Tip { sequence }),
            any::<u64>().prop_map(|sequence| Message::Ack { sequence }),
            (any::<u64>(), any::<u64>()).prop_map(|(from, to)| Message::Missing { from, to }),
            (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(from, to, kept)| Message::Again { from, to, kept }),
            (any::<u32>(), any::<u32>()).prop_map(|(dump, bucket)| Message::Pull { dump, bucket }),
            (any::<u32>(), 0..1000u32, proptest::option::of(1000..2000u32), 0..9u8, records()).prop_map(
                |(dump, bucket, next, index, records)| {
                    Message::Slice(Slice { dump, sequence: 8, bucket, next, index, count: 9, records })
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_message_comes_back(message in message()) {
            prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn noise_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
            }
        }

        #[test]
        fn what_fits_fits_and_one_more_would_not(records in prop::collection::vec(record(), 0..60)) {
            let fits = fitting(&records, 1352);
            let size = |records: &[Record]| Message::Flows { sequence: 1, records: records.to_vec() }.encode().len();
            prop_assert!(size(fits) <= 1352);
            prop_assert!(fits.len() == records.len() || size(&records[..=fits.len()]) > 1352 - HEAD);
        }
    }

    #[test]
    fn a_slice_that_leads_nowhere_is_refused() {
        let slice = Slice { dump: 1, sequence: 2, bucket: 5, next: Some(6), index: 0, count: 1, records: vec![] };
        let decoded = |slice: &Slice| Message::decode(&Message::Slice(slice.clone()).encode());
        assert!(decoded(&slice).is_ok());
        for wrong in [
            Slice { next: Some(5), ..slice.clone() },
            Slice { index: 1, ..slice.clone() },
            Slice { count: 0, ..slice.clone() },
            Slice { count: SLICE + 1, ..slice.clone() },
        ] {
            assert_eq!(decoded(&wrong), Err(Malformed));
        }
    }
}
