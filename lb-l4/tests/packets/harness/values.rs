//! All values of a BPF array at once: whole tables are compared after each packet, and a call for each value would
//! take most of the time.

#![expect(unsafe_code, reason = "two commands of bpf(2) that aya does not have")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Pod;
use aya::maps::{Map, MapData};

/// `enum bpf_cmd`
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_MAP_UPDATE_BATCH: libc::c_int = 26;

/// `union bpf_attr` for BPF_MAP_*_BATCH.
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// An array of them, or one for each CPU.
pub struct Values<T> {
    map: OwnedFd,
    indexes: Vec<u32>,
    cpus: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Values<T> {
    pub fn of(map: &Map) -> Self {
        let (map, cpus) = match map {
            Map::Array(map) => (map, 1),
            Map::PerCpuArray(map) => (map, aya::util::nr_cpus().expect("the number of CPUs")),
            other => panic!("no array: {other:?}"),
        };
        let map_of = |map: &MapData| map.fd().as_fd().try_clone_to_owned().expect("a file descriptor");
        let count = map.info().expect("what the kernel says of a map").max_entries();
        Self { map: map_of(map), indexes: (0..count).collect(), cpus, of: PhantomData }
    }

    /// By index; of each that one for each CPU.
    pub fn read(&self) -> Vec<T> {
        let mut bytes = vec![0_u8; self.indexes.len() * self.cpus * Self::STRIDE];
        self.all(BPF_MAP_LOOKUP_BATCH, &mut bytes);
        // SAFETY: any bytes make a `Pod`, and a chunk is at least as long as one.
        bytes.chunks_exact(Self::STRIDE).map(|chunk| unsafe { chunk.as_ptr().cast::<T>().read_unaligned() }).collect()
    }

    /// As `read` gives them.
    pub fn write(&self, values: &[T]) {
        assert_eq!(values.len(), self.indexes.len() * self.cpus);
        let mut bytes = vec![0_u8; values.len() * Self::STRIDE];
        for (chunk, value) in bytes.chunks_exact_mut(Self::STRIDE).zip(values) {
            // SAFETY: a chunk is at least as long as a `T`.
            unsafe { chunk.as_mut_ptr().cast::<T>().write_unaligned(*value) };
        }
        self.all(BPF_MAP_UPDATE_BATCH, &mut bytes);
    }

    pub fn fill(&self, value: T) {
        self.write(&vec![value; self.indexes.len() * self.cpus]);
    }

    /// Over the CPUs.
    pub fn sums<S>(&self, sum: impl Fn(&[T]) -> S) -> Vec<S> {
        self.read().chunks_exact(self.cpus).map(sum).collect()
    }

    /// How far values are apart, where there is more than one.
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    fn all(&self, command: libc::c_int, values: &mut [u8]) {
        let (mut keys, mut last) = (self.indexes.clone(), 0_u32);
        let batch = Batch {
            in_batch: 0,
            out_batch: (&raw mut last) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: self.indexes.len() as u32,
            map_fd: self.map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: the kernel reads and writes `count` keys and values, for which there is room, and one key at
        // `out_batch`; all of that outlives the call.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const batch, size_of::<Batch>()) };
        assert_eq!(result, 0, "bpf(2): {}", io::Error::last_os_error());
    }
}
