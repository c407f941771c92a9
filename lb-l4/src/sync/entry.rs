//! The door by which flows of others come in: the program in bpf/sync.c.

use std::mem::offset_of;
use std::path::Path;

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions, Xdp};

use crate::abi::{Import, imported};
use crate::error::Error;
use crate::loader::{self, Sizes};
use crate::object::SYNC_PROGRAM;
use crate::pod::bytes_of;

/// IMPORTS of sync.c.
const AT_ONCE: usize = 40;

pub struct Entry(Ebpf);

impl Entry {
    /// Over the maps that are pinned there.
    pub fn open(maps: &Path, sizes: Sizes) -> Result<Self, Error> {
        loader::load_entry(maps, sizes).map(Self)
    }

    /// Adds what became of them to `results`, by `enum imported`.
    pub fn run(&mut self, flows: &[Import], results: &mut [u64; imported::COUNT]) -> Result<(), Error> {
        let program = self.0.program_mut(SYNC_PROGRAM).ok_or(Error::NoProgram(SYNC_PROGRAM))?;
        let program: &mut Xdp = program.try_into().map_err(|_| Error::NoProgram(SYNC_PROGRAM))?;
        for some in flows.chunks(AT_ONCE) {
            let bytes = bytes_of(some);
            let mut answer = vec![0; bytes.len()];
            let options =
                TestRunOptions { data_in: Some(bytes), data_out: Some(&mut answer), ..TestRunOptions::default() };
            program.test_run(options).map_err(|error| Error::program(loader::ENTRY, &error))?;
            for flow in answer.chunks(size_of::<Import>()) {
                let result = flow.get(offset_of!(Import, result)).copied().unwrap_or(imported::NONE);
                results[usize::from(result).min(imported::COUNT - 1)] += 1;
            }
        }
        Ok(())
    }
}
